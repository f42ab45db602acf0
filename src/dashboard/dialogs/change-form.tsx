import { Button, Checkbox, Group, Loader, Stack, Text } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { useClient } from 'urql';
import type { Problem } from '../api-error.ts';
import { type Update, updateMutationOf } from '../app-mutations.ts';
import { appOf, issuesOfChange, typeNameOf, type Values } from '../client-validation.ts';
import { ProblemAlert } from '../error-alert.tsx';
import { clearSecrets, errorsByField, type FieldErrors, focusFirstError, valuesOf } from '../fields.tsx';
import type { Connection } from '../operations.ts';
import { send } from '../run-mutation.ts';
import type { AppOption, FieldOption } from '../use-options.ts';

/** What a dialog that changes a connection is given. */
export interface ChangeDialogProps {
  connection: Connection;
  options: readonly AppOption[];
  onClose(): void;
  /** @param text what was done */
  onDone(text: string): void;
}

interface ChangeFormProps extends Pick<ChangeDialogProps, 'connection' | 'onClose' | 'onDone'> {
  /** The fields of the credentials that the form has. */
  fields: readonly FieldOption[];
  /** What is to change, by what was typed. */
  changeOf(values: Values): Update['input'];
  /** What is said when it is done. */
  done: string;
  /** What is said while it is not. */
  busy: string;
  /** The fields, with what is wrong with each. */
  children(errors: FieldErrors): ReactNode;
}

/** Changes a connection as it was when the form was opened; if somebody else has changed it since, it says so. */
export function ChangeForm(props: ChangeFormProps) {
  const { connection, fields, changeOf, done, busy, onClose, onDone, children } = props;
  const { id, app, version } = connection;
  const client = useClient();
  const [errors, setErrors] = useState<FieldErrors>({});
  const [problem, setProblem] = useState<Problem>();
  const [asking, setAsking] = useState<AbortController>();
  const flag = appOf(app)?.moving?.flag;

  const submit = async (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = event.currentTarget;
    const values = valuesOf(form);
    const refuse = (broken: FieldErrors) => {
      setErrors(broken);
      focusFirstError(form, broken);
    };
    setProblem(undefined);
    const broken = errorsByField(issuesOfChange(app, values, fields));
    if (Object.keys(broken).length > 0) return refuse(broken);
    setErrors({});
    const controller = new AbortController();
    setAsking(controller);
    clearSecrets(form);
    const input = { ...changeOf(values), version, ...(flag && values[flag] && { [flag]: true }) };
    const outcome = await send(
      client,
      updateMutationOf(typeNameOf(connection)),
      { id, input },
      controller.signal,
    );
    setAsking(undefined);
    if (!outcome) return;
    if (!outcome.problem) return onDone(done);
    setProblem(outcome.problem);
    refuse(errorsByField(outcome.problem.issues));
  };

  return (
    <form onSubmit={submit} noValidate autoComplete="off">
      <Stack>
        {children(errors)}
        {flag && errors[flag] && (
          <Checkbox name={flag} label="Yes, use a different organisation" error={errors[flag]} />
        )}
        {problem && <ProblemAlert problem={problem} />}
        {problem && fields.some(({ secret }) => secret) && (
          <Text size="sm" c="dimmed">
            This page does not keep secrets. Enter them again.
          </Text>
        )}
        <Group justify="end" role="status">
          {asking && (
            <>
              <Loader size="sm" aria-hidden />
              <Text size="sm">{busy}</Text>
            </>
          )}
          <Button variant="default" onClick={asking ? () => asking.abort() : onClose}>
            Cancel
          </Button>
          <Button type="submit" disabled={asking !== undefined}>
            Save
          </Button>
        </Group>
      </Stack>
    </form>
  );
}
