import { z } from 'zod';
import { boundedText, isStorable, notStorableMessage } from '../common/text.ts';
import { typedKeys } from '../common/typed-keys.ts';
import { type WebhookEventType, webhookEventTypes } from './event-types.ts';
import { webhookFormats } from './webhook-endpoint.entity.ts';

const maxUrlLength = 2_048;
const maxDescriptionLength = 256;
const maxProjects = 100;

/** The types to which an endpoint can subscribe. A test event is sent only on request. */
export const subscribableTypes: WebhookEventType[] = typedKeys(webhookEventTypes).filter(
  (type) => type !== 'webhook.test',
);

const formats = typedKeys(webhookFormats);

/** The URL of a receiver. The outbound client, not this schema, decides whether the address may be connected to. */
const url = boundedText(maxUrlLength, {
  missing: 'The URL is required.',
  tooLong: `The URL has at most ${maxUrlLength} characters.`,
})
  .trim()
  .transform((text, context) => {
    const messages = findUrlIssues(text);
    for (const message of messages) context.addIssue({ code: 'custom', message });
    return messages.length > 0 ? z.NEVER : new URL(text).href;
  });

const mailAddress = z.email();

function findUrlIssues(text: string): string[] {
  if (/^mailto:/i.test(text)) {
    const isAddress = mailAddress.safeParse(text.slice('mailto:'.length)).success;
    return isAddress ? [] : ['A mailto: URL must have one e-mail address and nothing else.'];
  }
  const parsed = /^https?:\/\//i.test(text) && isStorable(text) ? URL.parse(text) : null;
  if (!parsed) return ['The URL must be a web address, such as https://example.com/webhooks.'];
  return [
    ...(parsed.username || parsed.password
      ? ['The URL must not have a user name or a password. The signature authenticates this server.']
      : []),
    ...(parsed.hash ? ['The URL must not have a fragment. Remove the part from # on.'] : []),
  ];
}

const description = boundedText(1_024, {
  tooLong: `The description has at most ${maxDescriptionLength} characters.`,
})
  .trim()
  .max(maxDescriptionLength, {
    error: `The description has at most ${maxDescriptionLength} characters.`,
  })
  .refine(isStorable, { error: notStorableMessage })
  .transform((text) => text || null)
  .nullish();

const eventTypes = z
  .array(z.enum(subscribableTypes))
  .min(1, { error: 'Name at least one type of events, or omit the field for all.' })
  .max(subscribableTypes.length, { error: 'Name each type of events at most once.' })
  .transform((types) => [...new Set(types)])
  .nullish();

const projectIds = z
  .array(z.string())
  .min(1, { error: 'Name at least one project, or omit the field for the whole organisation.' })
  .max(maxProjects, { error: `An endpoint is limited to at most ${maxProjects} projects.` })
  .transform((ids) => [...new Set(ids)])
  .nullish();

/** The schema of `createWebhookEndpoint`. */
export const createWebhookEndpointSchema = z.object({
  url,
  description,
  eventTypes,
  projectIds,
  format: z.enum(formats).nullish(),
});

/** The validated input of `createWebhookEndpoint`. */
export type CreateWebhookEndpoint = z.output<typeof createWebhookEndpointSchema>;

/** The schema of the changes of `updateWebhookEndpoint`. */
export const updateWebhookEndpointSchema = z.object({
  url: url.optional(),
  description,
  eventTypes,
  projectIds,
  format: z.enum(formats).optional(),
  enabled: z.boolean().optional(),
});

/** The validated changes of an endpoint. Absent: unchanged. */
export type UpdateWebhookEndpoint = z.output<typeof updateWebhookEndpointSchema>;
