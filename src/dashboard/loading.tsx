import { Loader } from '@mantine/core';

/** Says, to screen readers too, that there is something to wait for. */
export function Waiting({ what = 'Loading' }: { what?: string }) {
  return <Loader role="status" aria-label={what} />;
}
