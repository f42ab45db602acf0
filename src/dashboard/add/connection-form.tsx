import {
  Alert,
  Button,
  Checkbox,
  Grid,
  Group,
  Loader,
  NativeSelect,
  Stack,
  Text,
  Textarea,
  TextInput,
  Title,
} from '@mantine/core';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { AnnotationFields, toAnnotations } from '../annotations.tsx';
import { buildCreateMutation, type CreateVariables } from '../app-mutations.ts';
import { toFieldInput, toTypeName, validateCreate } from '../client-validation.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { CredentialField } from '../fields.tsx';
import type { Connection } from '../operations.ts';
import type { OptionalProjectId } from '../route.ts';
import { useMutationForm } from '../use-mutation-form.ts';
import type { AppOption } from '../use-options.ts';
import { useTitle } from '../use-title.ts';
import { Guide } from './guide.tsx';

interface ConnectionFormProps {
  projectId: OptionalProjectId;
  option: AppOption;
  onCreated(connection: Connection): void;
}

/** The form of a connection, generated from the app's fields. */
export function ConnectionForm({ projectId, option, onCreated }: ConnectionFormProps) {
  useTitle(`Add ${option.name} Connection`);
  const { errors, apiError, request, submit } = useMutationForm();
  const [methodName, setMethodName] = useState<string>();
  const [isCancelled, setIsCancelled] = useState(false);
  const heading = useRef<HTMLHeadingElement>(null);
  const method = option.methods.find(({ method }) => method === methodName) ?? option.methods[0];
  useEffect(() => heading.current?.focus(), []);
  if (!method) return null;

  const create = async (event: FormEvent<HTMLFormElement>) => {
    setIsCancelled(false);
    const data = await submit(event, {
      validate: (values) => validateCreate(option, method.method, values, method.fields),
      mutation: buildCreateMutation(toTypeName(option)),
      toVariables: (values): CreateVariables => {
        const filledFields = method.fields.filter(({ name }) => values[name]);
        return {
          input: {
            name: values.name ?? '',
            description: values.description || null,
            ...toAnnotations(values),
            projectId,
            method: method.method,
            credentials: Object.fromEntries(
              filledFields.map((field) => [field.name, toFieldInput(field, values[field.name] ?? '')]),
            ),
            onUnreachable: values.keep ? 'SAVE_UNVERIFIED' : 'FAIL',
          },
        };
      },
    });
    if (data === 'cancelled') setIsCancelled(true);
    else if (data?.outcome) onCreated(data.outcome.appConnection);
  };

  return (
    <>
      <Title order={1} size="h2" mt="xs" mb="md" ref={heading} tabIndex={-1}>
        {option.name} Connection
      </Title>
      <Grid gap="xl">
        <Grid.Col span={{ base: 12, md: 7 }}>
          <form onSubmit={create} noValidate autoComplete="off">
            <Stack>
              <TextInput
                name="name"
                label="Name"
                description="Lower-case letters and digits, with single hyphens between them."
                placeholder={`my-${option.app.toLowerCase()}-connection`}
                withAsterisk
                aria-required
                spellCheck={false}
                autoCapitalize="off"
                error={errors.name}
              />
              <Textarea
                name="description"
                label="Description"
                description="What this connection is used for."
                autosize
                minRows={2}
                error={errors.description}
              />
              <AnnotationFields errors={errors} />
              {option.methods.length > 1 && (
                <NativeSelect
                  label="Method"
                  description={method.description}
                  data={option.methods.map(({ method, label }) => ({ value: method, label }))}
                  value={method.method}
                  onChange={(event) => setMethodName(event.currentTarget.value)}
                />
              )}
              {method.fields.map((field) => (
                <CredentialField
                  key={`${method.method}-${field.name}`}
                  field={field}
                  error={errors[field.name]}
                />
              ))}
              <Checkbox
                name="keep"
                label={`Create the connection even if ${option.name} cannot be reached`}
                description="It is then saved unverified. Rejected credentials are never saved."
              />
              {apiError && <ErrorAlert apiError={apiError} />}
              {apiError && (
                <Text size="sm" c="dimmed">
                  This page does not keep secrets. Enter them again.
                </Text>
              )}
              {isCancelled && (
                <Alert color="gray" role="status">
                  Cancelled. Nothing was created.
                </Alert>
              )}
              <Group role="status" mih={36}>
                {request ? (
                  <>
                    <Loader size="sm" aria-hidden />
                    <Text>Verifying with {option.name}…</Text>
                    <Button variant="default" onClick={() => request.abort()}>
                      Cancel
                    </Button>
                  </>
                ) : (
                  <Button type="submit">Create</Button>
                )}
              </Group>
            </Stack>
          </form>
        </Grid.Col>
        <Grid.Col span={{ base: 12, md: 5 }}>
          <Guide option={option} method={method} />
        </Grid.Col>
      </Grid>
    </>
  );
}
