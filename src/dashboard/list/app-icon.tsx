import { Avatar } from '@mantine/core';

/** The sign of an app: its initials, so that an app needs no picture to be told from others. */
export function AppIcon({ name, size = 36 }: { name: string; size?: number }) {
  return (
    <Avatar name={name} variant="filled" color="blue.8" radius="md" size={size} alt="" aria-hidden>
      {name.slice(0, 1)}
    </Avatar>
  );
}
