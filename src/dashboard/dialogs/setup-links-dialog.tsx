import { Alert, Button, Group, Modal, NativeSelect, Stack, Text } from '@mantine/core';
import { useState } from 'react';
import { useClient, useQuery } from 'urql';
import { type ApiError, parseError } from '../api-error.ts';
import { CodeBlock } from '../code-block.tsx';
import { ErrorAlert } from '../error-alert.tsx';
import { Loading } from '../loading.tsx';
import type { Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import { runMutation } from '../run-mutation.ts';
import classes from '../table.module.css';
import { toWords } from '../use-audit-events.ts';
import {
  createSetupLinkMutation,
  revokeSetupLinkMutation,
  type SetupLink,
  setupLinksQuery,
} from './setup-link-operations.ts';

const daySeconds = 86_400;
const lifetimes = [
  { value: `${daySeconds / 24}`, label: '1 hour' },
  { value: `${daySeconds}`, label: '1 day' },
  { value: `${3 * daySeconds}`, label: '3 days' },
  { value: `${7 * daySeconds}`, label: '7 days' },
  { value: `${14 * daySeconds}`, label: '14 days' },
];

const time = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });

/** Creates, lists and revokes the setup links of a connection. */
export default function SetupLinksDialog({
  connection,
  onClose,
}: {
  connection: Connection;
  onClose(): void;
}) {
  const { id: connectionId, name } = connection;
  const client = useClient();
  const [{ data, error }, refetch] = useQuery({
    query: setupLinksQuery,
    variables: { connectionId },
    requestPolicy: 'network-only',
  });
  const [expiresIn, setExpiresIn] = useState(`${3 * daySeconds}`);
  const [url, setUrl] = useState<string>();
  const [apiError, setApiError] = useState<ApiError>();
  const reload = () => refetch({ requestPolicy: 'network-only' });

  const create = async () => {
    const variables = { connectionId, expiresIn: Number(expiresIn) };
    const result = await runMutation(client, createSetupLinkMutation, variables);
    setApiError(result?.apiError);
    const created = result?.data?.outcome?.url;
    // The page knows better than the server at which address it is reached.
    if (created) setUrl(new URL(`setup${new URL(created).hash}`, document.baseURI).href);
    reload();
  };
  const revoke = async ({ id }: SetupLink) => {
    const result = await runMutation(client, revokeSetupLinkMutation, { id });
    setApiError(result?.apiError);
    setUrl(undefined);
    reload();
  };

  return (
    <Modal
      opened
      onClose={onClose}
      size="lg"
      title={`Setup links of ${name}`}
      closeButtonProps={{ 'aria-label': 'Close' }}
    >
      <Stack>
        <Text size="sm">
          A setup link is for the person who administers the app and has no account here. Its page says what
          to do, takes the secret if there is one, and checks the connection. It works once and for this
          connection only.
        </Text>
        <Group align="end">
          <NativeSelect
            label="The link works for"
            data={lifetimes}
            value={expiresIn}
            onChange={(event) => setExpiresIn(event.currentTarget.value)}
          />
          <Button onClick={create}>Create link</Button>
        </Group>
        {url && (
          <Alert color="green" role="status">
            <Text size="sm" fw={600}>
              Send this link to the administrator.
            </Text>
            <Text size="sm" mb="sm">
              It is shown only now. Anyone who has it can set up this connection, so send it over a channel
              that you trust.
            </Text>
            <CodeBlock text={url} label="the link" />
          </Alert>
        )}
        {apiError && <ErrorAlert apiError={apiError} />}
        {error && <ErrorAlert apiError={parseError(error)} onRetry={reload} />}
        {!data && !error && <Loading />}
        {data?.connectionSetupLinks.length === 0 && <Text c="dimmed">There are no setup links yet.</Text>}
        <Stack component="ul" p={0} m={0} gap="md" className={classes.plain} aria-label="Setup links">
          {data?.connectionSetupLinks.map((link) => (
            <LinkItem key={link.id} link={link} onRevoke={() => revoke(link)} />
          ))}
        </Stack>
      </Stack>
    </Modal>
  );
}

function LinkItem({ link, onRevoke }: { link: SetupLink; onRevoke(): void }) {
  const { status, createdAt, expiresAt, openedAt } = link;
  return (
    <Group component="li" justify="space-between" wrap="nowrap">
      <div>
        <Text fw={600}>{toWords(status)}</Text>
        <Text size="sm" c="dimmed">
          created <RelativeTime at={createdAt} />, {openedAt ? 'opened ' : 'not opened'}
          {openedAt && <RelativeTime at={openedAt} />}
          {status === 'ACTIVE' && `, until ${time.format(new Date(expiresAt))}`}
        </Text>
      </div>
      {status === 'ACTIVE' && (
        <Button
          variant="default"
          size="xs"
          onClick={onRevoke}
          aria-label={`Revoke the link until ${time.format(new Date(expiresAt))}`}
        >
          Revoke
        </Button>
      )}
    </Group>
  );
}
