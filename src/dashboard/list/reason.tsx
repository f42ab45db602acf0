import { Button, type ButtonProps, type ElementProps } from '@mantine/core';
import { lazy, Suspense } from 'react';
import type { Connection } from '../operations.ts';
import { notLoaded, useEarlyInput } from './early-input.ts';

// Nothing of it is visible before a click. Without it, the rest of the page works.
const ReasonPopover = lazy(() =>
  import('./reason-popover.tsx').catch(() => ({
    default: ({ name }: ReasonProps) => <ReasonButton name={name} disabled title={notLoaded} />,
  })),
);

/** The properties of the reason why a connection is not verified. */
export type ReasonProps = Pick<Connection, 'name' | 'verification'>;

/** A button that shows why a connection is not verified. */
export function Reason(props: ReasonProps) {
  const { early, handlers } = useEarlyInput();
  const button = (
    <ReasonButton name={props.name} aria-haspopup="dialog" aria-expanded={false} {...handlers} />
  );
  return (
    <Suspense fallback={button}>
      <ReasonPopover {...props} early={early} />
    </Suspense>
  );
}

interface ReasonButtonProps extends ButtonProps, ElementProps<'button', keyof ButtonProps> {
  /** The name of the connection. */
  name: string;
}

/** The button that opens the reason. */
export function ReasonButton({ name, ...props }: ReasonButtonProps) {
  return (
    <Button variant="default" size="compact-xs" aria-label={`Why ${name} is not verified`} {...props}>
      Why?
    </Button>
  );
}
