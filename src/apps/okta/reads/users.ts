import { z } from 'zod';
import { type ReadObject, type TypedRead, text, time } from '../../typed-read.ts';
import { filterText, limit, oktaId } from './okta-id.ts';

/** The default attributes of `UserProfile` in Okta's API description. Organisations add others, which are not promised. */
const profile = z.object({
  login: text('The login, unique in the organisation.'),
  email: text('The primary email address.'),
  secondEmail: text('The secondary email address.'),
  firstName: text('The given name.'),
  lastName: text('The family name.'),
  middleName: text('The middle name.'),
  honorificPrefix: text('The title before the name.'),
  honorificSuffix: text('What follows the name.'),
  displayName: text('The name for display.'),
  nickName: text('The casual name.'),
  title: text('The job title.'),
  userType: text('The relationship to the organisation, such as employee or contractor.'),
  employeeNumber: text('The employee number.'),
  costCenter: text('The cost centre.'),
  organization: text('The name of the organisation.'),
  division: text('The name of the division.'),
  department: text('The name of the department.'),
  managerId: text('The id of the manager.'),
  manager: text('The display name of the manager.'),
  primaryPhone: text('The primary phone number.'),
  mobilePhone: text('The mobile phone number.'),
  streetAddress: text('The street of the address.'),
  city: text('The city of the address.'),
  state: text('The state or region of the address.'),
  zipCode: text('The postal code of the address.'),
  countryCode: text('The country of the address, as two letters (ISO 3166-1).'),
  preferredLanguage: text('The preferred language.'),
  locale: text('The locale, such as `en_US`.'),
  timezone: text('The time zone.'),
  profileUrl: text('The URL of the profile.'),
});

/** `User` in Okta's API description. */
export const user: ReadObject = {
  name: 'User',
  description: 'A user of an Okta organisation.',
  schema: z.object({
    id: oktaId.describe('The id.'),
    status: text('The status, such as `ACTIVE`, `SUSPENDED` or `DEPROVISIONED`.'),
    created: time('The time of creation.'),
    activated: time('The time of activation.'),
    statusChanged: time('The time of the last change of the status.'),
    lastLogin: time('The time of the last sign-in.'),
    lastUpdated: time('The time of the last change.'),
    passwordChanged: time('The time of the last change of the password.'),
    profile: profile.nullish().describe('The attributes of the user.'),
  }),
};

/** Reads of users. */
export const userReads: readonly TypedRead[] = [
  {
    field: 'users',
    description: 'The users. Without `search` and `filter`, Okta leaves out deprovisioned ones.',
    path: '/api/v1/users',
    arguments: {
      search: {
        schema: filterText,
        description:
          'Users that match this search expression, as of some seconds ago: `profile.department eq "Engineering"`.',
      },
      filter: {
        schema: filterText,
        description: 'Users that match this filter expression, as of now: `status eq "LOCKED_OUT"`.',
      },
    },
    object: user,
    pages: { maxSize: 200, sizeParameter: limit },
  },
  {
    field: 'user',
    description: 'A user; null if Okta has none. Okta finds a login with a slash only by the id.',
    path: '/api/v1/users/{idOrLogin}',
    arguments: {
      idOrLogin: {
        schema: z
          .string()
          .min(1, 'The id or login is missing.')
          .max(100, 'A login has at most 100 characters.'),
        description: 'The id, the login, or the part of the login before the @ if it is unambiguous.',
      },
    },
    object: user,
  },
];
