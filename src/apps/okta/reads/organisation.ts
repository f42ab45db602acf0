import { z } from 'zod';
import { type ReadObject, type TypedRead, text, time } from '../../typed-read.ts';
import { oktaId } from './okta-id.ts';

/** `OrgSetting` in Okta's API description. */
const organisation: ReadObject = {
  name: 'Organisation',
  description: 'The general settings of an Okta organisation.',
  schema: z.object({
    id: oktaId.describe('The id.'),
    subdomain: text('The subdomain: `example` of `example.okta.com`.'),
    companyName: text('The name of the company.'),
    status: text('The status: `ACTIVE` or `INACTIVE`.'),
    website: text('The website.'),
    phoneNumber: text('The phone number.'),
    address1: text('The first line of the address.'),
    address2: text('The second line of the address.'),
    city: text('The city of the address.'),
    state: text('The state or region of the address.'),
    postalCode: text('The postal code of the address.'),
    country: text('The country of the address.'),
    supportPhoneNumber: text('The phone number of the support.'),
    endUserSupportHelpURL: text('The URL of the support.'),
    created: time('The time of creation.'),
    lastUpdated: time('The time of the last change.'),
    expiresAt: time('The time at which the organisation expires.'),
  }),
};

/** Reads of the organisation. */
export const organisationReads: readonly TypedRead[] = [
  {
    field: 'organisation',
    description: 'The organisation. Only some administrators may read it.',
    path: '/api/v1/org',
    object: organisation,
  },
];
