import { Tabs } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useLocation } from 'wouter';
import { connectionPath } from '../route.ts';
import type { DetailedConnection } from './operations.ts';
import { PolicyTab } from './policy-tab.tsx';
import { TryTab } from './try-tab.tsx';
import { UsageTab } from './usage-tab.tsx';
import { WritesTab } from './writes-tab.tsx';

const tabs = {
  usage: 'Usage',
  writes: 'Recent writes',
  policy: 'Use policy',
  try: 'Try it',
} as const;
type Tab = keyof typeof tabs;

const isTab = (name: string | undefined): name is Tab => name !== undefined && Object.hasOwn(tabs, name);

interface ConnectionTabsProps {
  connection: DetailedConnection;
  appName: string;
  /** From the address. */
  tab: string | undefined;
  /** Called after this page has changed or used the connection. */
  onChanged(): void;
}

/** The parts of the page of a connection. Each loads when it is opened, and keeps what was typed. */
export function ConnectionTabs({ connection, appName, tab, onChanged }: ConnectionTabsProps) {
  const [, navigate] = useLocation();
  const current = isTab(tab) ? tab : 'usage';
  const [opened, setOpened] = useState<ReadonlySet<Tab>>(new Set());
  if (!opened.has(current)) setOpened(new Set([...opened, current]));
  const content: Readonly<Record<Tab, ReactNode>> = {
    usage: <UsageTab connectionId={connection.id} />,
    writes: <WritesTab connectionId={connection.id} />,
    policy: <PolicyTab connection={connection} onChanged={onChanged} />,
    try: <TryTab connection={connection} appName={appName} onSent={onChanged} />,
  };
  return (
    <Tabs
      value={current}
      onChange={(next) =>
        navigate(connectionPath(connection.projectId, connection.id, next ?? undefined), { replace: true })
      }
    >
      <Tabs.List aria-label="Parts of the connection">
        {Object.entries(tabs).map(([name, label]) => (
          <Tabs.Tab key={name} value={name}>
            {label}
          </Tabs.Tab>
        ))}
      </Tabs.List>
      {Object.entries(content).map(([name, panel]) => (
        <Tabs.Panel key={name} value={name} pt="md">
          {isTab(name) && opened.has(name) && panel}
        </Tabs.Panel>
      ))}
    </Tabs>
  );
}
