import { type FormEvent, useState } from 'react';
import { type AnyVariables, type DocumentInput, useClient } from 'urql';
import type { Issue } from '../common/errors.ts';
import type { ApiError } from './api-error.ts';
import type { FormValues } from './client-validation.ts';
import { clearSecrets, errorsByField, type FieldErrors, focusFirstError, readForm } from './fields.tsx';
import { runMutation } from './run-mutation.ts';

/** The mutation of a form. */
interface FormMutation<Data, Variables extends AnyVariables> {
  validate(values: FormValues): readonly Issue[];
  mutation: DocumentInput<Data, Variables>;
  toVariables(values: FormValues): Variables;
}

/** The state of a form that sends a mutation: the errors of its fields, the error of the API, and the pending request. */
export function useMutationForm() {
  const client = useClient();
  const [errors, setErrors] = useState<FieldErrors>({});
  const [apiError, setApiError] = useState<ApiError>();
  const [request, setRequest] = useState<AbortController>();

  /**
   * Validates the form and sends its mutation. Clears the secrets in the form, and shows errors in it.
   *
   * @returns the data, `'cancelled'` if `request` was aborted, or undefined after an error
   */
  const submit = async <Data extends object, Variables extends AnyVariables>(
    event: FormEvent<HTMLFormElement>,
    { validate, mutation, toVariables }: FormMutation<Data, Variables>,
  ): Promise<Data | 'cancelled' | undefined> => {
    event.preventDefault();
    const form = event.currentTarget;
    const values = readForm(form);
    const showErrors = (fieldErrors: FieldErrors) => {
      setErrors(fieldErrors);
      focusFirstError(form, fieldErrors);
    };
    setApiError(undefined);
    const invalid = errorsByField(validate(values));
    showErrors(invalid);
    if (Object.keys(invalid).length > 0) return undefined;

    const controller = new AbortController();
    setRequest(controller);
    clearSecrets(form);
    const result = await runMutation(client, mutation, toVariables(values), controller.signal);
    setRequest(undefined);
    if (!result) return 'cancelled';
    if (!result.apiError) return result.data;
    setApiError(result.apiError);
    showErrors(errorsByField(result.apiError.issues));
    return undefined;
  };
  return { errors, apiError, request, submit };
}
