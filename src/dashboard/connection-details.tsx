import { Anchor, Badge, Group, Paper } from '@mantine/core';
import type { ReactNode } from 'react';
import { formatTag } from './annotations.tsx';
import type { Connection } from './operations.ts';
import classes from './table.module.css';

interface ConnectionDetailsProps {
  connection: Connection;
  /** The display name of its app. */
  appName: string;
  /** Facts after those of every connection. */
  more?: readonly (readonly [label: string, value: ReactNode])[];
}

/** What a connection is. */
export function ConnectionDetails({ connection, appName, more = [] }: ConnectionDetailsProps) {
  const { id, name, description, tags, owner: contact, credentials } = connection;
  // Other apps have other types of credentials.
  const tokenOwner = 'tokenOwner' in credentials ? credentials.tokenOwner : null;
  const { login, id: ownerId, status } = tokenOwner ?? {};
  const all: readonly (readonly [string, ReactNode])[] = [
    ['Name', name],
    ['Description', description],
    [
      'Owner',
      contact && (
        <>
          {contact.name} (
          <Anchor inherit href={`mailto:${contact.email}`}>
            {contact.email}
          </Anchor>
          )
        </>
      ),
    ],
    ['Tags', tags.length > 0 && <Tags tags={tags} />],
    ['App', appName],
    ['Instance URL', credentials.instanceUrl],
    [
      `Token owner in ${appName}`,
      ownerId && `${login ?? ownerId}${status ? ` (${status.toLowerCase()})` : ''}`,
    ],
    ['ID', id],
    ...more,
  ];
  return (
    <Paper withBorder p="md">
      <dl className={classes.facts}>
        {all
          .filter(([, value]) => value)
          .map(([label, value]) => (
            <div key={label}>
              <dt>{label}</dt>
              <dd>{value}</dd>
            </div>
          ))}
      </dl>
    </Paper>
  );
}

function Tags({ tags }: { tags: Connection['tags'] }) {
  return (
    <Group gap={4}>
      {tags.map((tag) => (
        <Badge key={tag.key} variant="default" tt="none" fw={400}>
          {formatTag(tag)}
        </Badge>
      ))}
    </Group>
  );
}
