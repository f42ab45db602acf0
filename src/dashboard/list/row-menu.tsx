import { ActionIcon, Menu } from '@mantine/core';
import type { Connection } from '../operations.ts';
import { useSession } from '../session/session.ts';

/** An action on a connection. */
export type Action = 'edit' | 'replace' | 'verify' | 'setup' | 'audit' | 'delete' | 'copy';

interface RowMenuProps {
  connection: Connection;
  onAction(action: Action, connection: Connection): void;
}

/** The menu of actions on a connection; those that the caller may not do are disabled. */
export function RowMenu({ connection, onAction }: RowMenuProps) {
  const { scopes } = useSession().viewer;
  const canWrite = scopes.includes('CONNECTIONS_WRITE');
  const item = (action: Action, label: string, isAllowed = true, color?: string) => (
    <Menu.Item c={color} disabled={!isAllowed} onClick={() => onAction(action, connection)}>
      {label}
    </Menu.Item>
  );
  return (
    <Menu position="bottom-end" withinPortal withInitialFocusPlaceholder={false}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" size="lg" aria-label={`Actions for ${connection.name}`}>
          <span aria-hidden="true">⋮</span>
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {item('copy', 'Copy ID')}
        {item('edit', 'Edit details', canWrite)}
        {item(
          'replace',
          connection.method === 'API_TOKEN' ? 'Replace token' : 'Change credentials',
          canWrite,
        )}
        {item('setup', 'Setup links', canWrite)}
        {item('verify', 'Verify now', scopes.includes('CONNECTIONS_VERIFY'))}
        {item('audit', 'Audit trail', scopes.includes('AUDIT_READ'))}
        <Menu.Divider />
        {item('delete', 'Delete', canWrite, 'var(--mantine-color-error)')}
      </Menu.Dropdown>
    </Menu>
  );
}
