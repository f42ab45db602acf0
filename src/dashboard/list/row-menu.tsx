import { ActionIcon, type ActionIconProps, type ElementProps } from '@mantine/core';
import { lazy, Suspense } from 'react';
import type { Connection } from '../operations.ts';
import { notLoaded, useEarlyInput } from './early-input.ts';

// Nothing of it is visible before a click. Without it, the rest of the page works.
const OpenableMenu = lazy(() =>
  import('./openable-menu.tsx').catch(() => ({
    default: ({ connection }: RowMenuProps) => (
      <MenuButton name={connection.name} disabled title={notLoaded} />
    ),
  })),
);

/** An action on a connection. */
export type Action = 'edit' | 'replace' | 'verify' | 'setup' | 'audit' | 'delete' | 'copy';

/** The properties of the menu of actions on a connection. */
export interface RowMenuProps {
  connection: Connection;
  onAction(action: Action, connection: Connection): void;
}

/** The menu of actions on a connection; those that the caller may not do are disabled. */
export function RowMenu(props: RowMenuProps) {
  const { early, handlers } = useEarlyInput();
  const button = (
    <MenuButton name={props.connection.name} aria-haspopup="menu" aria-expanded={false} {...handlers} />
  );
  return (
    <Suspense fallback={button}>
      <OpenableMenu {...props} early={early} />
    </Suspense>
  );
}

interface MenuButtonProps extends ActionIconProps, ElementProps<'button', keyof ActionIconProps> {
  /** The name of the connection. */
  name: string;
}

/** The button that opens the menu. */
export function MenuButton({ name, ...props }: MenuButtonProps) {
  return (
    <ActionIcon variant="subtle" color="gray" size="lg" aria-label={`Actions for ${name}`} {...props}>
      <span aria-hidden="true">⋮</span>
    </ActionIcon>
  );
}
