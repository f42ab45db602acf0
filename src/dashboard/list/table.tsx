import { Anchor, Box, Group, Loader, Text, VisuallyHidden } from '@mantine/core';
import { Link } from 'wouter';
import type { Connection } from '../operations.ts';
import { RelativeTime } from '../relative-time.tsx';
import { connectionPath } from '../route.ts';
import classes from '../table.module.css';
import { type AppOption, getLabels } from '../use-options.ts';
import { AppIcon } from './app-icon.tsx';
import { CertificateBadge, ExpiryBadge } from './expiry.tsx';
import { type Action, RowMenu } from './row-menu.tsx';
import { Status } from './status.tsx';

interface ConnectionsTableProps {
  connections: readonly Connection[];
  options: readonly AppOption[];
  /** The ids of connections that are being verified. */
  verifying: ReadonlySet<string>;
  onAction(action: Action, connection: Connection): void;
}

/** The table of connections. On narrow screens, the columns move below the name. */
export function ConnectionsTable({ connections, options, verifying, onAction }: ConnectionsTableProps) {
  return (
    <table className={classes.table} aria-label="App connections">
      <thead>
        <tr>
          <Box component="th" visibleFrom="md">
            App
          </Box>
          <th>Name</th>
          <Box component="th" visibleFrom="md">
            Method
          </Box>
          <Box component="th" visibleFrom="sm">
            Status
          </Box>
          <Box component="th" visibleFrom="md">
            Updated
          </Box>
          <th>
            <VisuallyHidden>Actions</VisuallyHidden>
          </th>
        </tr>
      </thead>
      <tbody>
        {connections.map((connection) => {
          const { id, name, description, updatedAt, verification, health } = connection;
          const { appName, icon, methodLabel } = getLabels(connection, options);
          const status = verifying.has(id) ? (
            <Group gap="xs">
              <Loader size="xs" aria-hidden />
              <Text size="sm">Verifying…</Text>
            </Group>
          ) : (
            <>
              <Status name={name} verification={verification} health={health} />
              <ExpiryBadge health={health} />
              <CertificateBadge health={health} />
            </>
          );
          return (
            <tr key={id}>
              <Box component="td" className={classes.short} visibleFrom="md">
                <Group gap="sm" wrap="nowrap">
                  <AppIcon name={appName} icon={icon} />
                  {appName}
                </Group>
              </Box>
              <th scope="row">
                <Anchor
                  component={Link}
                  href={connectionPath(connection.projectId, id)}
                  fw={600}
                  style={{ overflowWrap: 'anywhere' }}
                >
                  {name}
                </Anchor>
                {description && (
                  <Text size="sm" c="dimmed" fw={400} lineClamp={3} style={{ overflowWrap: 'anywhere' }}>
                    {description}
                  </Text>
                )}
                <Group gap="xs" wrap="nowrap" mt={4} hiddenFrom="md">
                  <AppIcon name={appName} icon={icon} size={24} />
                  <Text size="sm" fw={400}>
                    {appName}, {methodLabel}, updated <RelativeTime at={updatedAt} />
                  </Text>
                </Group>
                <Box hiddenFrom="sm" fw={400} mt={4}>
                  {status}
                </Box>
              </th>
              <Box component="td" className={classes.short} visibleFrom="md">
                {methodLabel}
              </Box>
              <Box component="td" className={classes.short} visibleFrom="sm">
                {status}
              </Box>
              <Box component="td" className={classes.short} visibleFrom="md">
                <RelativeTime at={updatedAt} />
              </Box>
              <td>
                <RowMenu connection={connection} onAction={onAction} />
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}
