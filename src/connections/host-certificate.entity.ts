import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { Organisation } from '../identity/organisation.entity.ts';

const HostCertificateSchema = defineEntity({
  name: 'HostCertificate',
  tableName: 'host_certificate',
  ...tenantIsolated('host_certificate'),
  properties: {
    orgId: () => p.manyToOne(Organisation).mapToPk().primary().fieldName('org_id'),
    /** `https://example.okta.com`. */
    origin: p.text().primary(),
    validFrom: p.datetime(3),
    validTo: p.datetime(3),
    /** When a server saw that it was another one than before. */
    seenAt: p.datetime(3),
    /** When the last warning was due, also that of an earlier certificate; null if there was none. */
    warnedAt: p.datetime(3).nullable(),
    /** When a server looks at it again: for a warning, or to forget it. */
    dueAt: p.datetime(3).index('host_certificate_due'),
  },
});

/** The TLS certificate of a host to which an organisation has connections. */
export class HostCertificate extends HostCertificateSchema.class {}
HostCertificateSchema.setClass(HostCertificate);
