import { ActionIcon, Chip, Group, NativeSelect, Paper, TextInput } from '@mantine/core';
import type { Method } from './operations.ts';
import type { DraftRule } from './policy-draft.ts';

/** The methods of requests, in the order in which people think of them. GET covers HEAD. */
export const methods: readonly Method[] = ['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS'];
const all = 'ALL';

interface RuleEditorProps {
  rule: DraftRule;
  /** From 1. */
  position: number;
  isLast: boolean;
  error: string | undefined;
  onChange(rule: DraftRule): void;
  onMove(by: 1 | -1): void;
  onRemove(): void;
}

/** The fields of a rule. Its buttons are never disabled, so that the focus stays when it has reached an end of the list. */
export function RuleEditor(props: RuleEditorProps) {
  const { rule, position, isLast, error, onChange, onMove, onRemove } = props;
  const chooseMethods = (chosen: readonly string[]) => {
    const known = methods.filter((method) => chosen.includes(method));
    // The last choice counts: all, or some.
    const isAll = known.length === 0 || (rule.methods !== null && chosen.includes(all));
    onChange({ ...rule, methods: isAll ? null : known });
  };
  return (
    <Paper component="li" withBorder p="sm">
      <Group align="start" gap="sm">
        <NativeSelect
          label={`Rule ${position}`}
          w={100}
          data={[
            { value: 'ALLOW', label: 'Allow' },
            { value: 'DENY', label: 'Deny' },
          ]}
          value={rule.effect}
          onChange={(event) =>
            onChange({ ...rule, effect: event.currentTarget.value === 'ALLOW' ? 'ALLOW' : 'DENY' })
          }
        />
        <TextInput
          label={`Path of rule ${position}`}
          flex="1 1 220px"
          value={rule.path}
          placeholder="/api/v1/users/:id/**"
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          error={error}
          onChange={(event) => onChange({ ...rule, path: event.currentTarget.value })}
          data-rule-path={rule.key}
        />
        <Group gap={4} mt={{ base: 0, sm: 24 }} wrap="nowrap">
          <ActionIcon
            variant="default"
            size="lg"
            aria-label={`Move rule ${position} up`}
            aria-disabled={position === 1}
            data-move-up={rule.key}
            onClick={() => position > 1 && onMove(-1)}
          >
            <span aria-hidden="true">↑</span>
          </ActionIcon>
          <ActionIcon
            variant="default"
            size="lg"
            aria-label={`Move rule ${position} down`}
            aria-disabled={isLast}
            data-move-down={rule.key}
            onClick={() => !isLast && onMove(1)}
          >
            <span aria-hidden="true">↓</span>
          </ActionIcon>
          <ActionIcon variant="default" size="lg" aria-label={`Remove rule ${position}`} onClick={onRemove}>
            <span aria-hidden="true">✕</span>
          </ActionIcon>
        </Group>
      </Group>
      <Group gap={6} mt="sm" role="group" aria-label={`Methods of rule ${position}`}>
        <Chip.Group multiple value={[...(rule.methods ?? [all])]} onChange={chooseMethods}>
          <Chip size="xs" value={all}>
            All methods
          </Chip>
          {methods.map((method) => (
            <Chip key={method} size="xs" value={method}>
              {method}
            </Chip>
          ))}
        </Chip.Group>
      </Group>
    </Paper>
  );
}
