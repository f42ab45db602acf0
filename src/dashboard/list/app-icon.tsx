import { Avatar } from '@mantine/core';

interface AppIconProps {
  name: string;
  icon: string | null | undefined;
  size?: number;
}

/** The icon of an app, or its initial if it has none. */
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
