import { Avatar } from '@mantine/core';

interface AppIconProps {
  name: string;
  icon: string | null | undefined;
  size?: number;
}

/** The sign of an app: its drawing, or its initial, so that an app needs none to be told from others. */
export function AppIcon({ name, icon, size = 36 }: AppIconProps) {
  return (
    <Avatar variant="filled" color="blue.8" radius="md" size={size} aria-hidden>
      {icon ? (
        <svg viewBox="0 0 24 24" width="70%" fill="currentColor" fillRule="evenodd" aria-hidden="true">
          <path d={icon} />
        </svg>
      ) : (
        name.slice(0, 1)
      )}
    </Avatar>
  );
}
