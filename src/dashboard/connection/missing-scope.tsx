import { Alert } from '@mantine/core';

interface MissingScopeProps {
  /** As callers write it: `connections:use`. */
  scope: string;
  /** What the caller cannot do: `send requests through this connection`. */
  action: string;
}

/** Says which scope the signed-in caller lacks for an action. */
export function MissingScope({ scope, action }: MissingScopeProps) {
  return (
    <Alert color="gray" role="note">
      You cannot {action}, because you are signed in without the scope {scope}.
    </Alert>
  );
}
