import { TextInput } from '@mantine/core';
import type { Issue } from '../common/errors.ts';
import type { FieldOption } from './use-options.ts';

/** What is wrong with each field, by its name; empty for what is about no field. */
export type FieldErrors = Readonly<Record<string, string>>;

/** Sorts issues by field: `input.credentials.apiToken`, as the server says, and `name` alike. */
export function errorsByField(issues: readonly Issue[]): FieldErrors {
  const errors: Record<string, string> = {};
  for (const { path, message } of issues) {
    const field = String(path.at(-1) ?? '');
    errors[field] = errors[field] ? `${errors[field]} ${message}` : message;
  }
  return errors;
}

/**
 * Moves to the first field that is wrong, once React has said so on the page.
 *
 * @param form the form
 */
export function focusFirstError(form: HTMLFormElement, errors: FieldErrors): void {
  const inputs = [...form.querySelectorAll('input')];
  requestAnimationFrame(() => inputs.find(({ name }) => errors[name])?.focus());
}

/** What was typed into a form. */
export function valuesOf(form: HTMLFormElement): Record<string, string> {
  const entries = [...new FormData(form)];
  return Object.fromEntries(entries.map(([name, value]) => [name, typeof value === 'string' ? value : '']));
}

/** Empties the fields that hold secrets, which have no business on the page once they are sent. */
export function clearSecrets(form: HTMLFormElement): void {
  for (const input of form.querySelectorAll<HTMLInputElement>('input[type=password]')) input.value = '';
}

interface CredentialFieldProps {
  field: FieldOption;
  error: string | undefined;
  defaultValue?: string | undefined;
  /** Whether a dialog starts with it. */
  isFirst?: boolean;
}

/**
 * A field of an app's credentials. React is not told what is typed into it: it would write that into an attribute.
 */
export function CredentialField({ field, error, defaultValue, isFirst }: CredentialFieldProps) {
  const { name, label, kind, required, secret, placeholder, help } = field;
  return (
    <TextInput
      name={name}
      type={secret ? 'password' : 'text'}
      inputMode={kind === 'URL' ? 'url' : 'text'}
      label={label}
      description={help}
      placeholder={placeholder}
      defaultValue={defaultValue}
      withAsterisk={required}
      aria-required={required}
      autoComplete="off"
      autoCapitalize="off"
      spellCheck={false}
      error={error}
      data-autofocus={isFirst || undefined}
    />
  );
}
