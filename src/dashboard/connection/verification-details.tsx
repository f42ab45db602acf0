import { Alert, Text } from '@mantine/core';
import type { ReactNode } from 'react';
import type { DetailedConnection } from './operations.ts';

type Details = NonNullable<DetailedConnection['verification']['details']>;
type ApiTokenDetails = Extract<Details, { __typename: 'OktaApiTokenDetails' }>;
type ApiToken = NonNullable<ApiTokenDetails['apiTokens']>[number];

/** What works and needs attention. */
export function VerificationWarnings({ details }: { details: Details | null }) {
  return details?.warnings.map(({ message, remedy }) => (
    <Alert key={message} color="yellow" mt="sm">
      <Text size="sm">{message}</Text>
      <Text size="sm" mt="xs">
        {remedy}
      </Text>
    </Alert>
  ));
}

/** What the last successful verification found out, as facts. Other apps have other details. */
export function toDetailRows(details: Details | null): readonly (readonly [string, ReactNode])[] {
  if (details?.__typename !== 'OktaApiTokenDetails') return [];
  const { organisation, owner, apiTokens } = details;
  const [only, ...others] = apiTokens ?? [];
  const roles = owner?.roles?.map(({ type, label }) => label ?? type);
  return [
    ['Okta organisation', organisation && (organisation.name ?? organisation.id)],
    ['Admin roles of the owner', roles && (roles.join(', ') || 'None')],
    ['API token in Okta', only && others.length === 0 && describeToken(only)],
    ['API token in Okta, one of', others.length > 0 && <Tokens tokens={apiTokens ?? []} />],
  ];
}

function Tokens({ tokens }: { tokens: readonly ApiToken[] }) {
  return (
    <ul style={{ margin: 0, paddingInlineStart: '1.2em' }}>
      {tokens.map((token) => (
        <li key={token.id}>{describeToken(token)}</li>
      ))}
    </ul>
  );
}

const day = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });

function describeToken({ id, name, expiresAt, network }: ApiToken): string {
  const expiry = expiresAt && `expires on ${day.format(new Date(expiresAt))} unless it is used`;
  const isAnywhere = network?.connection === 'ANYWHERE';
  const from = network && (isAnywhere ? 'from any network' : 'only from some networks');
  return [name ?? id, expiry, from].filter(Boolean).join(', ');
}
