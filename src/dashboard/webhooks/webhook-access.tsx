import { Alert, Code, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import { useSession } from '../session/session.ts';

/** Its children if the caller may see webhooks; otherwise what is missing, and who can give it. */
export function WebhookAccess({ children }: { children: ReactNode }) {
  const { scopes, projects } = useSession().viewer;
  if (projects !== null) {
    return (
      <Alert color="gray" role="note" title="Webhooks are for the whole organisation">
        You cannot see them, because you are signed in with a credential that is limited to projects.
      </Alert>
    );
  }
  if (scopes.includes('WEBHOOKS_READ')) return children;
  return (
    <Alert color="gray" role="note" title="You are signed in without the scope webhooks:read">
      <Text size="sm">
        Webhooks need the scopes webhooks:read and webhooks:write. API keys of earlier versions have neither,
        and cannot give them to others. The operator of this server makes a key that has all scopes:
      </Text>
      <Code block my="sm" tabIndex={0} role="region" aria-label="command">
        npm run admin -- create-key --org ID
      </Code>
      <Text size="sm">
        If you sign in with an identity provider, it has to know the scopes, and the operator names them in
        OIDC_SCOPES.
      </Text>
    </Alert>
  );
}

/** Whether the caller may change endpoints and send messages. */
export function useCanWriteWebhooks(): boolean {
  return useSession().viewer.scopes.includes('WEBHOOKS_WRITE');
}
