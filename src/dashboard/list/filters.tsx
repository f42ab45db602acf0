import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useEffect, useState } from 'react';
import type { AppOption } from '../use-options.ts';
import { byName, type Filter, type ListParams, orders, parseStatus } from './list-params.ts';
import { TagFilterFields } from './tag-filter.tsx';
import { TimeFilterFields } from './time-filter.tsx';

interface FiltersProps {
  params: ListParams;
  /** @param isStep whether "back" returns to what was before: not to each part of a text */
  onChange(params: ListParams, isStep: boolean): void;
  options: readonly AppOption[];
}

/** The controls for search, filters and order. */
export function Filters({ params, onChange, options }: FiltersProps) {
  const { filter, orderBy } = params;
  const addFilter = (more: Filter, isStep = true) =>
    onChange({ ...params, filter: { ...filter, ...more } }, isStep);
  const order = Object.keys(orders).find(
    (label) => orders[label]?.field === orderBy.field && orders[label]?.direction === orderBy.direction,
  );
  return (
    <Group component="search" align="end" gap="sm" mb="md">
      <SearchField
        text={filter.nameContains ?? ''}
        onChange={(text) => addFilter({ nameContains: text || null }, false)}
      />
      <NativeSelect
        label="App"
        flex="1 1 110px"
        data={[
          { value: '', label: 'All apps' },
          ...options.map(({ app, name }) => ({ value: app, label: name })),
        ]}
        value={filter.app ?? ''}
        onChange={(event) =>
          addFilter({ app: options.find(({ app }) => app === event.currentTarget.value)?.app })
        }
      />
      <NativeSelect
        label="Status"
        flex="1 1 122px"
        data={[
          { value: '', label: 'All statuses' },
          { value: 'VERIFIED', label: 'Verified' },
          { value: 'REJECTED', label: 'Rejected' },
          { value: 'UNREACHABLE', label: 'Unreachable' },
          { value: 'PENDING', label: 'Pending' },
        ]}
        value={filter.health ?? ''}
        onChange={(event) => addFilter({ health: parseStatus(event.currentTarget.value) })}
      />
      <TagFilterFields tag={filter.tags?.[0]} onChange={(tags) => addFilter({ tags }, false)} />
      <TimeFilterFields filter={filter} onChange={(times) => addFilter(times)} />
      <NativeSelect
        label="Sort by"
        flex="1 1 130px"
        data={Object.keys(orders)}
        value={order}
        onChange={(event) =>
          onChange({ ...params, orderBy: orders[event.currentTarget.value] ?? byName }, true)
        }
      />
    </Group>
  );
}

/** The field for a part of the name, which also shows what the address has. */
function SearchField({ text, onChange }: { text: string; onChange(text: string): void }) {
  const [typed, setTyped] = useState(text);
  const apply = useDebouncedCallback(onChange, 250);
  // What is typed can have spaces around what is searched for.
  useEffect(() => setTyped((known) => (known.trim() === text ? known : text)), [text]);
  return (
    <TextInput
      type="search"
      label="Search"
      placeholder="Part of a name"
      maxLength={64}
      flex="1 1 210px"
      value={typed}
      onChange={(event) => {
        setTyped(event.currentTarget.value);
        apply(event.currentTarget.value.trim());
      }}
    />
  );
}
