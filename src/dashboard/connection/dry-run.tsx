import { Alert, Button, Group, NativeSelect, Stack, Text, TextInput, Title } from '@mantine/core';
import type { ResultOf } from 'gql.tada';
import { type FormEvent, useState } from 'react';
import { useClient } from 'urql';
import { type ApiError, parseError } from '../api-error.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { type Method, testPolicyQuery } from './operations.ts';
import { type PolicyDraft, toInput } from './policy-draft.ts';
import { methods } from './rule-editor.tsx';

type Decision = NonNullable<ResultOf<typeof testPolicyQuery>['testUsePolicy']>;

interface DryRunProps {
  connectionId: string;
  /** The policy in the editor, if it differs from the one in use. */
  draft: PolicyDraft | undefined;
  /** Called with an error about the rules, which the editor shows at them. */
  onError(apiError: ApiError): void;
}

/** Tells which rule decides about a request, without sending it. */
export function DryRun({ connectionId, draft, onError }: DryRunProps) {
  const client = useClient();
  const [method, setMethod] = useState<Method>('GET');
  const [path, setPath] = useState('/api/v1/users');
  const [tested, setTested] = useState<{
    decision?: Decision;
    apiError?: ApiError;
    draft: PolicyDraft | undefined;
  }>();

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    const variables = { id: connectionId, method, path, policy: draft ? toInput(draft) : null };
    const { data, error } = await client.query(testPolicyQuery, variables, { requestPolicy: 'network-only' });
    const apiError = error && parseError(error);
    if (apiError?.issues.some((issue) => issue.path.includes('rules'))) return onError(apiError);
    const decision = data?.testUsePolicy;
    setTested({ draft, ...(apiError && { apiError }), ...(decision && { decision }) });
  };
  // A decision holds for the rules that it was made with.
  const { decision, apiError } = tested?.draft === draft ? { ...tested } : {};
  return (
    <form onSubmit={submit}>
      <Title order={3} size="h5">
        Test a request
      </Title>
      <Text size="sm" c="dimmed" mb="xs">
        {draft
          ? 'Nothing is sent. The rules above are tested, which are not saved yet.'
          : 'Nothing is sent. The policy in use is tested.'}
      </Text>
      <Stack gap="sm">
        <Group align="end" gap="sm">
          <NativeSelect
            label="Method"
            data={[...methods]}
            value={method}
            onChange={(event) =>
              setMethod(methods.find((each) => each === event.currentTarget.value) ?? 'GET')
            }
          />
          <TextInput
            label="Path"
            flex="1 1 220px"
            value={path}
            autoComplete="off"
            autoCapitalize="off"
            spellCheck={false}
            onChange={(event) => setPath(event.currentTarget.value)}
          />
          <Button type="submit" variant="default">
            Test
          </Button>
        </Group>
        {apiError && <ErrorAlert apiError={apiError} />}
        {decision && (
          <Alert
            color={decision.isAllowed ? 'green' : 'red'}
            role="status"
            title={decision.isAllowed ? 'Allowed' : 'Denied'}
          >
            {decision.explanation}
          </Alert>
        )}
      </Stack>
    </form>
  );
}
