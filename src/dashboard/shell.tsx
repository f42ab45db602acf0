import {
  ActionIcon,
  Box,
  Burger,
  Button,
  Group,
  NativeSelect,
  NavLink,
  Text,
  useComputedColorScheme,
  useMantineColorScheme,
} from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import type { ReactNode } from 'react';
import { Link, useLocation } from 'wouter';
import { connectionsPath, type OptionalProjectId, webhooksPath } from './route.ts';
import { useSession } from './session/session.ts';
import classes from './shell.module.css';

interface ShellProps {
  projectId: OptionalProjectId;
  projects: readonly { id: string; name: string }[];
  canAccessUnscoped: boolean;
  children: ReactNode;
}

/** The header and navigation around every screen. */
export function Shell({ projectId, projects, canAccessUnscoped, children }: ShellProps) {
  const { viewer, signOut } = useSession();
  const [path, navigate] = useLocation();
  const [isOpen, { toggle, close }] = useDisclosure();
  const projectOptions = [
    ...projects.map(({ id, name }) => ({ value: id, label: name })),
    ...(canAccessUnscoped ? [{ value: '', label: 'No project' }] : []),
  ];
  const pages = [
    { label: 'App Connections', href: connectionsPath(projectId) },
    { label: 'Webhooks', href: webhooksPath(projectId) },
  ];
  return (
    <>
      <Box component="header" className={classes.header}>
        <Group h="100%" px="md" justify="space-between" wrap="nowrap">
          <Group wrap="nowrap" gap="sm" miw={0}>
            <Burger
              opened={isOpen}
              onClick={toggle}
              hiddenFrom="sm"
              size="sm"
              aria-label="Navigation"
              aria-expanded={isOpen}
              aria-controls="navigation"
            />
            <Text fw={700} truncate>
              App Connections
            </Text>
          </Group>
          <Group wrap="nowrap" gap="xs">
            <Text size="sm" c="dimmed" visibleFrom="sm">
              {viewer.organisation.name}
            </Text>
            <ColorSchemeButton />
            <Button variant="default" size="xs" onClick={signOut}>
              Sign out
            </Button>
          </Group>
        </Group>
      </Box>
      <div className={classes.body}>
        <Box
          component="nav"
          aria-label="Main"
          id="navigation"
          p="md"
          className={classes.nav}
          data-open={isOpen}
        >
          <NativeSelect
            label="Project"
            mb="md"
            data={projectOptions}
            value={projectId ?? ''}
            onChange={(event) => {
              navigate(connectionsPath(event.currentTarget.value || null));
              close();
            }}
          />
          <NavLink component="button" label="Integrations" defaultOpened childrenOffset="md">
            {pages.map(({ label, href }) => (
              <NavLink
                key={label}
                component={Link}
                href={href}
                label={label}
                active={path.startsWith(href)}
                aria-current={path.startsWith(href) ? 'page' : undefined}
                onClick={close}
              />
            ))}
          </NavLink>
        </Box>
        <Box component="main" p="md" className={classes.main}>
          {children}
        </Box>
      </div>
    </>
  );
}

function ColorSchemeButton() {
  const { setColorScheme } = useMantineColorScheme();
  const isDark = useComputedColorScheme('light') === 'dark';
  return (
    <ActionIcon
      variant="default"
      aria-label={isDark ? 'Use light colours' : 'Use dark colours'}
      onClick={() => setColorScheme(isDark ? 'light' : 'dark')}
    >
      <span aria-hidden="true">{isDark ? '☀' : '☾'}</span>
    </ActionIcon>
  );
}
