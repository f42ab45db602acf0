import { Loader } from '@mantine/core';

/** A spinner with a label for screen readers. */
export function Loading({ label = 'Loading' }: { label?: string }) {
  return <Loader role="status" aria-label={label} />;
}
