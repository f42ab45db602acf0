import { Alert, Button, Group, NativeSelect, Stack, Text } from '@mantine/core';
import { useMemo, useRef, useState } from 'react';
import { useClient } from 'urql';
import type { ApiError } from '../api-error.ts';
import { findApp } from '../client-validation.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { runMutation } from '../run-mutation.ts';
import { useSession } from '../session/session.ts';
import { toWords } from '../use-audit-events.ts';
import { DryRun } from './dry-run.tsx';
import { MissingScope } from './missing-scope.tsx';
import { type DetailedConnection, type Policy, type Rule, updatePolicyMutation } from './operations.ts';
import { isChanged, issuesByRule, toDraft, toDraftRule, toInput } from './policy-draft.ts';
import { RuleList } from './rule-list.tsx';
import { RulesTable } from './rules-table.tsx';

interface PolicyTabProps {
  connection: DetailedConnection;
  onChanged(): void;
}

/** The use policy of a connection: a preset or rules of one's own, tested before they are saved. */
export function PolicyTab({ connection, onChanged }: PolicyTabProps) {
  const { id, app, usePolicy: current } = connection;
  const client = useClient();
  const canWrite = useSession().viewer.scopes.includes('CONNECTIONS_WRITE');
  /** The policy that the draft started from. */
  const [base, setBase] = useState(current);
  const [draft, setDraft] = useState(() => toDraft(current));
  const [apiError, setApiError] = useState<ApiError>();
  const [isSaved, setIsSaved] = useState(false);
  const [isBusy, setIsBusy] = useState(false);
  const select = useRef<HTMLSelectElement>(null);

  const startFrom = (policy: Policy) => {
    setBase(policy);
    setDraft(toDraft(policy));
    setApiError(undefined);
    setIsSaved(false);
  };
  const isDirty = isChanged(draft, base);
  const isOutdated = current.version > base.version;
  if (isOutdated && !isDirty) startFrom(current);

  const presets = (findApp(app)?.usePresets ?? []).map(({ id, description, rules }) => ({
    // GraphQL's enum has the presets of all apps.
    id: id as NonNullable<Policy['preset']>,
    description,
    rules: rules.map(({ methods, ...rule }) => ({ ...rule, methods: methods ?? null })) as Rule[],
  }));
  const preset = presets.find(({ id }) => id === draft.preset);
  const change = (next: typeof draft) => {
    setDraft(next);
    setApiError(undefined);
    setIsSaved(false);
  };
  const choose = (value: string) => {
    const chosen = presets.find(({ id }) => id === value);
    if (chosen) return change({ ...draft, preset: chosen.id });
    // Rules of one's own start as those of the preset.
    const rules = draft.rules.length > 0 ? draft.rules : (preset?.rules ?? base.rules).map(toDraftRule);
    change({ preset: null, rules });
  };
  const discard = () => {
    startFrom(current);
    select.current?.focus();
  };
  const ruleErrors = useMemo(() => issuesByRule(apiError?.issues ?? []), [apiError]);
  const canSave = isDirty && !isOutdated && !isBusy;
  const save = async () => {
    if (!canSave) return;
    setIsBusy(true);
    const input = { ...toInput(draft), version: base.version };
    const result = await runMutation(client, updatePolicyMutation, { id, input });
    setIsBusy(false);
    setApiError(result?.apiError);
    const saved = result?.data?.outcome?.usePolicy;
    if (saved) {
      startFrom(saved);
      setIsSaved(true);
    }
    // After a conflict, this loads the other policy.
    onChanged();
  };

  return (
    <Stack>
      <Text size="sm" c="dimmed">
        It says which requests callers with the scope connections:use may send through this connection. The
        first rule that matches decides. Version {current.version}.
      </Text>
      {!canWrite && <MissingScope scope="connections:write" action="change this policy" />}
      {canWrite ? (
        <NativeSelect
          ref={select}
          label="Policy"
          maw={400}
          data={[
            ...presets.map(({ id }) => ({ value: id, label: toWords(id) })),
            { value: '', label: 'Rules of my own' },
          ]}
          value={draft.preset ?? ''}
          onChange={(event) => choose(event.currentTarget.value)}
        />
      ) : (
        <Text fw={600}>{current.preset ? toWords(current.preset) : 'Rules of its own'}</Text>
      )}
      {preset && <Text size="sm">{preset.description}</Text>}
      {canWrite && !draft.preset ? (
        <RuleList rules={draft.rules} errors={ruleErrors} onChange={(rules) => change({ ...draft, rules })} />
      ) : (
        <details>
          <summary>The rules of this policy</summary>
          <RulesTable rules={preset?.rules ?? base.rules} />
        </details>
      )}
      {isOutdated && isDirty && (
        <OutdatedPolicy
          current={current}
          onDiscard={discard}
          onKeep={() => {
            setBase(current);
            select.current?.focus();
          }}
        />
      )}
      {apiError && apiError.code !== 'VERSION_CONFLICT' && ruleErrors.size === 0 && (
        <ErrorAlert apiError={apiError} />
      )}
      {isSaved && !isDirty && (
        <Alert color="green" role="status">
          Saved the use policy.
        </Alert>
      )}
      {canWrite && (
        <Group>
          {/* Not disabled, so that the focus stays on it after saving. */}
          <Button onClick={save} aria-disabled={!canSave} data-disabled={!canSave || undefined}>
            Save policy
          </Button>
          {isDirty && (
            <Button variant="default" onClick={discard}>
              Discard changes
            </Button>
          )}
        </Group>
      )}
      <DryRun connectionId={id} draft={isDirty ? draft : undefined} onError={setApiError} />
    </Stack>
  );
}

interface OutdatedPolicyProps {
  current: Policy;
  onDiscard(): void;
  onKeep(): void;
}

/** Says that the policy has changed while it is edited, and asks which version to go on with. */
function OutdatedPolicy({ current, onDiscard, onKeep }: OutdatedPolicyProps) {
  return (
    <Alert
      color="yellow"
      role="alert"
      styles={{ title: { color: 'var(--mantine-color-text)' } }}
      title="The policy has changed since you began to edit it"
    >
      <Text size="sm" mb="xs">
        Someone has saved version {current.version}. Saving would replace it.
      </Text>
      <details>
        <summary>The rules of version {current.version}</summary>
        <RulesTable rules={current.rules} />
      </details>
      <Group mt="sm">
        <Button size="xs" variant="default" onClick={onDiscard}>
          Discard my changes
        </Button>
        <Button size="xs" variant="default" onClick={onKeep}>
          Keep my changes
        </Button>
      </Group>
    </Alert>
  );
}
