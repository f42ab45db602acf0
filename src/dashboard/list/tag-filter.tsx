import { Group, TextInput } from '@mantine/core';
import { useDebouncedCallback } from '@mantine/hooks';
import { useEffect, useState } from 'react';
import type { TagFilter } from '../../connections/annotations.ts';

interface TagFilterProps {
  /** The tag of the filter; absent for none. */
  tag: TagFilter | undefined;
  /** Gets null for connections with any tags and with none. */
  onChange(tags: TagFilter[] | null): void;
}

/**
 * The controls for the filter by a tag: its key, with any value or with one. The server checks both: the schema for that is not in
 * the scripts of the first load.
 */
export function TagFilterFields({ tag, onChange }: TagFilterProps) {
  const [givenKey, givenValue] = [tag?.key ?? '', tag?.value ?? ''];
  const [{ key, value }, setTag] = useState({ key: givenKey, value: givenValue });
  // What is typed can have spaces around the value.
  useEffect(() => {
    setTag((known) => {
      const isSame = known.key === givenKey && known.value.trim() === givenValue;
      return isSame ? known : { key: givenKey, value: givenValue };
    });
  }, [givenKey, givenValue]);
  const apply = useDebouncedCallback(
    () => onChange(key.trim() ? [{ key, value: value.trim() || null }] : null),
    250,
  );
  const change = (more: { key?: string; value?: string }) => {
    setTag({ key, value, ...more });
    apply();
  };
  return (
    <Group gap="sm" wrap="nowrap" flex="1 1 205px">
      <TextInput
        label="Tag"
        placeholder="Key"
        maxLength={128}
        flex="1 1 0"
        spellCheck={false}
        value={key}
        onChange={(event) => change({ key: event.currentTarget.value })}
      />
      <TextInput
        label="Tag value"
        placeholder="Any value"
        maxLength={256}
        flex="1 1 0"
        spellCheck={false}
        disabled={!key.trim()}
        value={value}
        onChange={(event) => change({ value: event.currentTarget.value })}
      />
    </Group>
  );
}
