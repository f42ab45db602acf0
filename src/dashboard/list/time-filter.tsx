import { Group, NativeSelect, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useEffect, useState } from 'react';
import { type Filter, type TimeFilterName, timeFilterNames, timeFilters } from './list-params.ts';

interface TimeFilterProps {
  filter: Filter;
  /** Gets every time of the filter; null for those that it does not have. */
  onChange(times: Pick<Filter, TimeFilterName>): void;
}

interface TimeFilter {
  name: TimeFilterName | '';
  /** Local, as in a form: `2026-11-29T12:00`. */
  before: string;
}

/** The controls for the filter by a time of the health: which one, and before when. */
export function TimeFilterFields({ filter, onChange }: TimeFilterProps) {
  const givenName = timeFilterNames.find((name) => filter[name]) ?? '';
  const givenBefore = givenName && toLocalTime(filter[givenName] ?? '');
  const [time, setTime] = useState<TimeFilter>({ name: givenName, before: givenBefore });
  useEffect(() => {
    // Somebody who empties the time is about to give another one.
    setTime((known) => (givenName || known.before ? { name: givenName, before: givenBefore } : known));
  }, [givenName, givenBefore]);
  const apply = useDebouncedCallback(({ name, before }: TimeFilter) => {
    if (!givenName && !(name && before)) return;
    const times: Pick<Filter, TimeFilterName> = {};
    for (const each of timeFilterNames) {
      times[each] = each === name && before ? new Date(before).toISOString() : null;
    }
    onChange(times);
  }, 250);
  return (
    <Group gap="sm" flex="1 1 352px">
      <NativeSelect
        label="Time"
        flex="1 1 140px"
        data={[
          { value: '', label: 'Any time' },
          ...timeFilterNames.map((value) => ({ value, label: timeFilters[value] })),
        ]}
        value={time.name}
        onChange={(event) => {
          const { value } = event.currentTarget;
          const next = { ...time, name: timeFilterNames.find((name) => name === value) ?? '' } as const;
          setTime(next);
          apply(next);
        }}
      />
      <TextInput
        type="datetime-local"
        label="Before"
        flex="1 1 200px"
        min="2000-01-01T00:00"
        max="2999-01-01T00:00"
        disabled={!time.name}
        value={time.before}
        onChange={(event) => {
          const { value, validity } = event.currentTarget;
          const next = { ...time, before: value };
          setTime(next);
          // A date without its year, or with a year that is being typed, such as 0202, is no filter yet.
          if (validity.valid) apply(next);
          else apply.cancel();
        }}
      />
    </Group>
  );
}

function toLocalTime(instant: string): string {
  const at = new Date(instant);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
}
