import { ActionIcon, Menu } from '@mantine/core';
import type { Connection } from '../operations.ts';
import { useSession } from '../session/session.ts';

/** What can be done with a connection, besides what is done at once. */
export type Action = 'edit' | 'replace' | 'check' | 'audit' | 'delete' | 'copy';

interface RowMenuProps {
  connection: Connection;
  onAction(action: Action, connection: Connection): void;
}

/** Everything that the caller may do with a connection. */
export function RowMenu({ connection, onAction }: RowMenuProps) {
  const { scopes } = useSession().viewer;
  const mayWrite = scopes.includes('CONNECTIONS_WRITE');
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
        {item('edit', 'Edit details', mayWrite)}
        {item('replace', 'Replace token', mayWrite)}
        {item('check', 'Verify now', scopes.includes('CONNECTIONS_VERIFY'))}
        {item('audit', 'Audit trail', scopes.includes('AUDIT_READ'))}
        <Menu.Divider />
        {item('delete', 'Delete', mayWrite, 'var(--mantine-color-error)')}
      </Menu.Dropdown>
    </Menu>
  );
}
