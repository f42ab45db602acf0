import {
  Button,
  Checkbox,
  Fieldset,
  Group,
  NativeSelect,
  Stack,
  Text,
  Textarea,
  TextInput,
} from '@mantine/core';
import { type FormEvent, useState } from 'react';
import type { AnyVariables, DocumentInput } from 'urql';
import type { Issue } from '../../common/errors.ts';
import { ErrorAlert } from '../error-alert.tsx';
import { useMutationForm } from '../use-mutation-form.ts';
import { eventLabels, subscribableTypes } from './event-labels.ts';
import type { Endpoint, EventType } from './operations.ts';

/** The values of the form. Null: all. */
export interface EndpointValues {
  url: string;
  description: string | null;
  eventTypes: EventType[] | null;
  projectIds: string[] | null;
  format: Endpoint['format'];
}

interface EndpointFormProps<Data, Variables extends AnyVariables> {
  /** Absent for a new endpoint. */
  endpoint?: Endpoint;
  projects: readonly { id: string; name: string }[];
  mutation: DocumentInput<Data, Variables>;
  toVariables(values: EndpointValues): Variables;
  /** The label of the button. */
  action: string;
  onClose(): void;
  onDone(data: Data): void;
}

/** The fields of an endpoint: where it is, and what it gets. */
export function EndpointForm<Data extends object, Variables extends AnyVariables>(
  props: EndpointFormProps<Data, Variables>,
) {
  const { endpoint, projects, mutation, toVariables, action, onClose, onDone } = props;
  const { errors, apiError, request, submit } = useMutationForm();
  const [eventTypes, setEventTypes] = useState<string[] | null>(endpoint?.eventTypes ?? null);
  const [projectIds, setProjectIds] = useState<string[] | null>(endpoint?.projectIds ?? null);

  const save = async (event: FormEvent<HTMLFormElement>) => {
    const data = await submit(event, {
      validate: ({ url }) => findIssues(url ?? '', eventTypes, projectIds),
      mutation,
      toVariables: ({ url = '', description, format }) =>
        toVariables({
          url,
          description: description || null,
          eventTypes: eventTypes as EventType[] | null,
          projectIds,
          format: isFormat(format) ? format : 'STANDARD',
        }),
    });
    if (data && data !== 'cancelled') onDone(data);
  };
  return (
    <form onSubmit={save} noValidate autoComplete="off">
      <Stack>
        <TextInput
          name="url"
          label="URL"
          description={
            isSecretUrl(endpoint)
              ? 'Only its host is shown. Leave it unchanged, or give another URL of Slack.'
              : 'A public https address, or mailto: and an e-mail address for the format e-mail.'
          }
          placeholder="https://example.com/webhooks"
          inputMode="url"
          defaultValue={endpoint?.url}
          withAsterisk
          aria-required
          spellCheck={false}
          error={errors.url}
          data-autofocus
        />
        <Textarea
          name="description"
          label="Description"
          defaultValue={endpoint?.description ?? ''}
          autosize
          error={errors.description}
        />
        <Choice
          label="Events"
          all="All events"
          options={subscribableTypes.map((type) => ({ value: type, label: eventLabels[type] }))}
          value={eventTypes}
          onChange={setEventTypes}
          error={errors.eventTypes}
        />
        <Choice
          label="Projects"
          all="The whole organisation"
          options={projects.map(({ id, name }) => ({ value: id, label: name }))}
          value={projectIds}
          onChange={setProjectIds}
          error={errors.projectIds}
        />
        <NativeSelect
          name="format"
          label="Format"
          data={Object.entries(formats)
            .filter(([value]) => !endpoint || groupOf(value) === groupOf(endpoint.format))
            .map(([value, label]) => ({ value, label }))}
          defaultValue={endpoint?.format}
          error={errors.format}
        />
        {apiError && <ErrorAlert apiError={apiError} />}
        <Group justify="end">
          <Button variant="default" onClick={request ? () => request.abort() : onClose}>
            Cancel
          </Button>
          <Button type="submit" loading={request !== undefined}>
            {action}
          </Button>
        </Group>
      </Stack>
    </form>
  );
}

/** The words for the forms of a body. */
export const formats: Readonly<Record<Endpoint['format'], string>> = {
  STANDARD: 'Standard Webhooks',
  CLOUDEVENTS: 'CloudEvents 1.0',
  SLACK: 'Slack, a digest for people',
  EMAIL: 'E-mail, a digest for people',
};

const isFormat = (format: string | undefined): format is Endpoint['format'] =>
  format !== undefined && Object.hasOwn(formats, format);

/** An endpoint for people keeps its format; the two for programs can replace each other. */
const groupOf = (format: string) => (isForPeople(format) ? format : 'programs');

/** Whether bodies are for people, and so have no signature. */
export const isForPeople = (format: string) => format === 'SLACK' || format === 'EMAIL';

const isSecretUrl = (endpoint: Endpoint | undefined) => endpoint?.format === 'SLACK';

interface ChoiceProps {
  label: string;
  /** The label of the choice of everything. */
  all: string;
  options: readonly { value: string; label: string }[];
  /** Null: all. */
  value: string[] | null;
  onChange(value: string[] | null): void;
  error: string | undefined;
}

function Choice({ label, all, options, value, onChange, error }: ChoiceProps) {
  return (
    <Fieldset
      legend={
        <Text span size="sm" fw={600}>
          {label}
        </Text>
      }
      variant="unstyled"
    >
      <Stack gap="xs" mt="xs">
        <Checkbox
          label={all}
          checked={value === null}
          onChange={(event) => onChange(event.currentTarget.checked ? null : [])}
        />
        {value && (
          <Checkbox.Group
            ml="lg"
            aria-label={label}
            value={value}
            onChange={onChange}
            error={error}
            errorProps={{ mt: 'xs' }}
          >
            <Stack gap="xs">
              {options.map((option) => (
                <Checkbox key={option.value} {...option} />
              ))}
            </Stack>
          </Checkbox.Group>
        )}
      </Stack>
    </Fieldset>
  );
}

function findIssues(url: string, eventTypes: string[] | null, projectIds: string[] | null): Issue[] {
  return [
    ...(url.trim() ? [] : [{ path: ['url'], message: 'The URL is required.' }]),
    ...(eventTypes?.length === 0 ? [{ path: ['eventTypes'], message: 'Choose at least one type.' }] : []),
    ...(projectIds?.length === 0 ? [{ path: ['projectIds'], message: 'Choose at least one project.' }] : []),
  ];
}
