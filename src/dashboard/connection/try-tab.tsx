import { Alert, Button, Group, Loader, NativeSelect, Stack, Text, Textarea, TextInput } from '@mantine/core';
import { type FormEvent, type ReactNode, useState } from 'react';
import { useClient } from 'urql';
import type { AppRequest } from '../../apps/use.ts';
import type { ApiError } from '../api-error.ts';
import { findApp, toId, toTypeName } from '../client-validation.ts';
import { CodeBlock } from '../code-block.tsx';
import { ErrorAlert } from '../error-alert.tsx';
import { errorsByField } from '../fields.tsx';
import { runMutation } from '../run-mutation.ts';
import { useSession } from '../session/session.ts';
import { ConfirmWrite } from './confirm-write.tsx';
import { buildExecuteMutation } from './execute-mutation.ts';
import { MissingScope } from './missing-scope.tsx';
import type { AppResponse, DetailedConnection } from './operations.ts';
import { PathInput } from './path-input.tsx';
import {
  findDraftErrors,
  hasBody,
  isRead,
  type PreparedRequest,
  prepareRequest,
  type RequestDraft,
  toCurl,
} from './request-draft.ts';
import { ResponseView } from './response-view.tsx';
import { methods } from './rule-editor.tsx';

interface TryTabProps {
  connection: DetailedConnection;
  appName: string;
  /** Called after a request was sent, or refused. */
  onSent(): void;
}

/** Sends requests through a connection, and shows the same request for curl. */
export function TryTab(props: TryTabProps) {
  const { scopes } = useSession().viewer;
  if (!scopes.includes('CONNECTIONS_USE')) {
    return <MissingScope scope="connections:use" action="send requests through this connection" />;
  }
  return <Console {...props} />;
}

function Console({ connection, appName, onSent }: TryTabProps) {
  const { id, app, credentials } = connection;
  const client = useClient();
  const [draft, setDraft] = useState<RequestDraft>({ method: 'GET', path: '', query: '', body: '' });
  const [errors, setErrors] = useState<RequestErrors>({});
  const [unconfirmed, setUnconfirmed] = useState<PreparedRequest>();
  const [running, setRunning] = useState<AbortController>();
  const [result, setResult] = useState<{ response?: AppResponse; apiError?: ApiError; isCancelled?: true }>(
    {},
  );
  const isRunning = running !== undefined;
  const request = prepareRequest(draft);
  const proxyUrl = new URL(`api/v1/app-connections/${toId(app)}/${id}/proxy`, document.baseURI).href;

  const change = (changed: Partial<RequestDraft>) => {
    setDraft({ ...draft, ...changed });
    setErrors({});
  };
  const send = async (prepared: PreparedRequest) => {
    const controller = new AbortController();
    setRunning(controller);
    setResult({});
    const variables = { input: { connectionId: id, ...prepared } };
    const mutation = buildExecuteMutation(toTypeName(connection));
    const outcome = await runMutation(client, mutation, variables, controller.signal);
    setRunning(undefined);
    if (!outcome) setResult({ isCancelled: true });
    else if (outcome.apiError) {
      setResult({ apiError: outcome.apiError });
      setErrors(errorsByField(outcome.apiError.issues));
    } else if (outcome.data.outcome) setResult({ response: outcome.data.outcome });
    onSent();
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    if (isRunning) return;
    const found = findDraftErrors(draft);
    setErrors(found);
    if (found.path || found.body) return;
    if (isRead(draft.method)) send(request);
    else setUnconfirmed(request);
  };
  const { nextPath } = result.response ?? {};
  const loadNext = () => {
    const next: RequestDraft = { ...draft, path: nextPath ?? '', query: '' };
    setDraft(next);
    send(prepareRequest(next));
  };
  return (
    <Stack>
      <RequestForm
        draft={draft}
        errors={errors}
        requests={findApp(app)?.requests ?? []}
        onChange={change}
        onSubmit={submit}
      >
        <Button type="submit" aria-disabled={isRunning} data-disabled={isRunning || undefined}>
          Send
        </Button>
        {running && (
          <>
            <Loader size="sm" aria-hidden />
            <Text size="sm">Waiting for {appName}…</Text>
            <Button variant="default" onClick={() => running.abort()}>
              Cancel
            </Button>
          </>
        )}
      </RequestForm>
      {result.apiError && <ErrorAlert apiError={result.apiError} />}
      {result.isCancelled && (
        <Alert color="gray" role="status">
          Cancelled. {appName} may have received the request.
        </Alert>
      )}
      {result.response && (
        <ResponseView
          response={result.response}
          appName={appName}
          onNext={nextPath && isRead(draft.method) && !isRunning ? loadNext : undefined}
        />
      )}
      <details>
        <summary>The same request with curl</summary>
        <CodeBlock text={toCurl(request, proxyUrl)} label="curl" />
      </details>
      {unconfirmed && (
        <ConfirmWrite
          request={unconfirmed}
          target={credentials.instanceUrl ? new URL(credentials.instanceUrl).host : appName}
          onClose={() => setUnconfirmed(undefined)}
          onConfirm={() => {
            setUnconfirmed(undefined);
            send(unconfirmed);
          }}
        />
      )}
    </Stack>
  );
}

/** The messages about the fields of a request. */
interface RequestErrors {
  path?: string;
  query?: string;
  body?: string;
}

interface RequestFormProps {
  draft: RequestDraft;
  errors: RequestErrors;
  /** The requests that the path is completed from. */
  requests: readonly AppRequest[];
  onChange(changed: Partial<RequestDraft>): void;
  onSubmit(event: FormEvent): void;
  /** The buttons. */
  children: ReactNode;
}

function RequestForm({ draft, errors, requests, onChange, onSubmit, children }: RequestFormProps) {
  return (
    <form onSubmit={onSubmit} noValidate>
      <Stack gap="sm">
        <Group align="start" gap="sm">
          <NativeSelect
            label="Method"
            data={[...methods]}
            value={draft.method}
            onChange={(event) =>
              onChange({ method: methods.find((method) => method === event.currentTarget.value) ?? 'GET' })
            }
          />
          <PathInput
            value={draft.path}
            requests={requests.filter(({ method }) => method === draft.method)}
            error={errors.path}
            onChange={(path) => onChange({ path })}
          />
        </Group>
        <TextInput
          label="Query"
          placeholder="limit=10"
          value={draft.query}
          autoComplete="off"
          autoCapitalize="off"
          spellCheck={false}
          error={errors.query}
          onChange={(event) => onChange({ query: event.currentTarget.value })}
        />
        {hasBody(draft.method) && (
          <Textarea
            label="Body"
            description="JSON, or empty."
            value={draft.body}
            autosize
            minRows={4}
            maxRows={20}
            spellCheck={false}
            styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)' } }}
            error={errors.body}
            onChange={(event) => onChange({ body: event.currentTarget.value })}
          />
        )}
        <Group role="status" mih={36}>
          {children}
        </Group>
      </Stack>
    </form>
  );
}
