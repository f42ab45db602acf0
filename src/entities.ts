import { ApiKey } from './access/api-key.entity.ts';
import { Organisation, Project } from './access/organisation.entity.ts';
import { AppConnection } from './connections/app-connection.entity.ts';
import { DataKey } from './secrets/data-key.entity.ts';

/** Everything that is stored. */
export const entities = [ApiKey, AppConnection, DataKey, Organisation, Project];
