import { defineEntity, p } from '@mikro-orm/core';
import { tenantIsolated } from '../database/row-level-security.ts';
import { authenticateRows } from '../encryption/row-macs.ts';

const OrganisationSchema = defineEntity({
  name: 'Organisation',
  tableName: 'organisation',
  ...tenantIsolated('organisation', 'id'),
  properties: {
    id: p.uuid().primary(),
    name: p.text(),
    createdAt: p.datetime(3),
  },
});

/** A tenant. Organisations share nothing. */
export class Organisation extends OrganisationSchema.class {}
OrganisationSchema.setClass(Organisation);

/** The unique index on the names of projects in an organisation. */
export const projectNameIndex = 'project_name_unique';

const ProjectSchema = defineEntity({
  name: 'Project',
  tableName: 'project',
  ...tenantIsolated('project'),
  properties: {
    id: p.uuid().primary(),
    orgId: () => p.manyToOne(Organisation).mapToPk().fieldName('org_id'),
    name: p.text(),
    createdAt: p.datetime(3),
    mac: p
      .text()
      .hidden()
      .onCreate(() => ''),
  },
  uniques: [{ name: projectNameIndex, properties: ['orgId', 'name'] }],
});

/** A group of connections in an organisation. */
export class Project extends ProjectSchema.class {}
ProjectSchema.setClass(Project);
authenticateRows(Project);
