import { Button, Stack, Text, VisuallyHidden } from '@mantine/core';
import { useEffect, useRef, useState } from 'react';
import { type DraftRule, toDraftRule } from './policy-draft.ts';
import { RuleEditor } from './rule-editor.tsx';

interface RuleListProps {
  rules: readonly DraftRule[];
  /** Messages by the position of the rule, from 0. */
  errors: ReadonlyMap<number, string>;
  onChange(rules: readonly DraftRule[]): void;
}

/** The rules of one's own, in the order in which they are tried. */
export function RuleList({ rules, errors, onChange }: RuleListProps) {
  const list = useRef<HTMLDivElement>(null);
  const addButton = useRef<HTMLButtonElement>(null);
  /** A selector of the element to focus after the next change: an element that moves loses the focus. */
  const [focus, setFocus] = useState<string>();
  const [announcement, setAnnouncement] = useState('');
  useEffect(() => {
    if (focus === undefined) return;
    const target = focus === '' ? addButton.current : list.current?.querySelector<HTMLElement>(focus);
    target?.focus();
    setFocus(undefined);
  }, [focus]);

  const firstWithError = rules[Math.min(...errors.keys())]?.key;
  useEffect(() => {
    if (errors.size > 0 && firstWithError) setFocus(`[data-rule-path="${firstWithError}"]`);
  }, [errors, firstWithError]);

  const move = (index: number, by: 1 | -1) => {
    const moved = rules[index];
    const other = rules[index + by];
    if (!moved || !other) return;
    onChange(rules.with(index, other).with(index + by, moved));
    setAnnouncement(`Rule ${index + 1} is rule ${index + by + 1} now.`);
    setFocus(`[data-move-${by === 1 ? 'down' : 'up'}="${moved.key}"]`);
  };
  const remove = (index: number) => {
    onChange(rules.toSpliced(index, 1));
    setAnnouncement(`Removed rule ${index + 1}.`);
    setFocus('');
  };
  const add = () => {
    const rule = toDraftRule({ effect: 'ALLOW', methods: ['GET'], path: '' });
    onChange([...rules, rule]);
    setFocus(`[data-rule-path="${rule.key}"]`);
  };
  return (
    <Stack gap="sm">
      {rules.length === 0 && <Text size="sm">There are no rules: every request is denied.</Text>}
      <Stack component="ul" ref={list} gap="sm" p={0} m={0} style={{ listStyle: 'none' }} aria-label="Rules">
        {rules.map((rule, index) => (
          <RuleEditor
            key={rule.key}
            rule={rule}
            position={index + 1}
            isLast={index === rules.length - 1}
            error={errors.get(index)}
            onChange={(changed) => onChange(rules.with(index, changed))}
            onMove={(by) => move(index, by)}
            onRemove={() => remove(index)}
          />
        ))}
      </Stack>
      <VisuallyHidden role="status">{announcement}</VisuallyHidden>
      <Button ref={addButton} variant="default" onClick={add} style={{ alignSelf: 'start' }}>
        Add rule
      </Button>
    </Stack>
  );
}
