import { Menu } from '@mantine/core';
import type { RefObject } from 'react';
import { useSession } from '../session/session.ts';
import { type EarlyInput, useOpenedByButton } from './early-input.ts';
import { type Action, MenuButton, type RowMenuProps } from './row-menu.tsx';

/** The menu of actions on a connection, with its button. */
export default function OpenableMenu({
  connection,
  onAction,
  early,
}: RowMenuProps & { early: RefObject<EarlyInput> }) {
  const { scopes } = useSession().viewer;
  const { opened, setOpened, button } = useOpenedByButton(early);
  const canWrite = scopes.includes('CONNECTIONS_WRITE');
  const item = (action: Action, label: string, isAllowed = true, color?: string) => (
    <Menu.Item c={color} disabled={!isAllowed} onClick={() => onAction(action, connection)}>
      {label}
    </Menu.Item>
  );
  return (
    <Menu
      opened={opened}
      onChange={setOpened}
      position="bottom-end"
      withinPortal
      withInitialFocusPlaceholder={false}
    >
      <Menu.Target>
        <MenuButton ref={button} name={connection.name} />
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
