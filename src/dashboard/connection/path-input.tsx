import { Autocomplete, Text } from '@mantine/core';
import { useEffect, useRef } from 'react';
import type { AppRequest } from '../../apps/use.ts';

interface PathInputProps {
  value: string;
  /** The requests with the chosen method. */
  requests: readonly AppRequest[];
  error: string | undefined;
  onChange(path: string): void;
}

/** The path of a request, completed from those that the app documents. */
export function PathInput({ value, requests, error, onChange }: PathInputProps) {
  const input = useRef<HTMLInputElement>(null);
  const summaries = new Map(requests.map(({ path, summary }) => [path, summary]));
  const parameter = /\{\w+\}/.exec(value);
  const isChosen = summaries.has(value);
  const [name = '', start = 0] = parameter ? [parameter[0], parameter.index] : [];
  useEffect(() => {
    // A chosen path is completed by typing over its first parameter.
    if (isChosen && name) input.current?.setSelectionRange(start, start + name.length);
  }, [isChosen, name, start]);
  return (
    <Autocomplete
      ref={input}
      label="Path"
      flex="1 1 300px"
      value={value}
      onChange={onChange}
      // The list would stay open over a path that is complete.
      data={isChosen ? [] : [...summaries.keys()]}
      limit={50}
      maxDropdownHeight={320}
      comboboxProps={{ withinPortal: true }}
      renderOption={({ option }) => (
        <div>
          <Text size="sm" style={{ overflowWrap: 'anywhere' }}>
            {option.value}
          </Text>
          <Text size="xs" c="dimmed">
            {summaries.get(option.value)}
          </Text>
        </div>
      )}
      placeholder="/api/v1/users"
      autoComplete="off"
      autoCapitalize="off"
      spellCheck={false}
      error={error}
    />
  );
}
