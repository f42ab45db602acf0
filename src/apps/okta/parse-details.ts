import { z } from 'zod';
import { maxDateTime, minDateTime } from '../../common/date-time.ts';
import { parseJson } from '../../outbound/json.ts';

/** The most objects of a list that are kept. */
const maxListed = 20;

/**
 * A name that people gave something, of visible characters. An Okta token has 42 characters and does not fit, in whatever
 * encoding a hostile host sends it back.
 */
const name = z
  .string()
  .trim()
  .max(40)
  .regex(/^[\p{L}\p{M}\p{N}\p{P}\p{S} ]+$/u)
  .nullish()
  .catch(null)
  .transform((text) => text ?? null);

const timestamp = z.iso
  .datetime({ offset: true })
  .transform((text) => new Date(text))
  .refine((date) => date >= minDateTime && date <= maxDateTime)
  .transform((date) => date.toISOString())
  .nullish()
  .catch(null)
  .transform((text) => text ?? null);

/** The objects of a list that are valid; the others are left out. */
const listOf = <Item extends z.ZodType>(item: Item) =>
  z.array(z.unknown()).transform((values) =>
    values.flatMap((value): z.output<Item>[] => {
      const { success, data } = item.safeParse(value);
      return success ? [data] : [];
    }),
  );

/** `OrgSetting` in Okta's API description. */
const organisation = z.object({ companyName: name });

/** `StandardRole` and `CustomRole`. */
const role = z.object({
  type: z.string().regex(/^[A-Z_]{1,40}$/),
  label: name,
  status: z.enum(['ACTIVE', 'INACTIVE']).nullish(),
});

const zones = listOf(z.string().regex(/^nzo[0-9A-Za-z]{1,17}$/))
  .transform((ids) => ids.slice(0, maxListed))
  .nullish()
  .catch(null)
  .transform((ids) => ids ?? null);

/** `ApiToken`. */
const apiToken = z.object({
  id: z.string().regex(/^00T[0-9A-Za-z]{1,17}$/),
  userId: z.string(),
  name,
  created: timestamp,
  lastUpdated: timestamp,
  expiresAt: timestamp,
  network: z
    .object({ connection: z.string().regex(/^[A-Z_]{1,20}$/), include: zones, exclude: zones })
    .nullish()
    .catch(null)
    .transform((network) => network ?? null),
});

/** An API token as Okta lists it. */
export type ListedApiToken = Omit<z.output<typeof apiToken>, 'userId'>;

/** Reads the name of the organisation; null if Okta did not send one. */
export function readOrganisationName(body: string): string | null {
  return organisation.safeParse(parseJson(body)).data?.companyName ?? null;
}

/** Reads the active admin roles; null if the response is no list. */
export function readRoles(body: string): { type: string; label: string | null }[] | null {
  const { data } = listOf(role).safeParse(parseJson(body));
  if (!data) return null;
  const active = data.filter(({ status }) => status !== 'INACTIVE');
  return active.slice(0, maxListed).map(({ type, label }) => ({ type, label }));
}

/** Reads the API tokens of a user, those that were used last first; null if the response is no list, or has none of the user. */
export function readApiTokens(body: string, ownerId: string): ListedApiToken[] | null {
  const { data = [] } = listOf(apiToken).safeParse(parseJson(body));
  const own = data.flatMap(({ userId, ...token }) => (userId === ownerId ? [token] : []));
  const lastUse = ({ lastUpdated }: ListedApiToken) => lastUpdated ?? '';
  own.sort((left, right) => lastUse(right).localeCompare(lastUse(left), 'en'));
  return own.length > 0 ? own.slice(0, maxListed) : null;
}
