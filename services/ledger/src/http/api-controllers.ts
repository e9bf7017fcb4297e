import { ArtifactsController } from './artifacts.controller.js';
import { FleetController } from './fleet.controller.js';
import { LogController } from './log.controller.js';
import { OpenApiController } from './openapi.controller.js';
import { TasksController } from './tasks.controller.js';
import { VerdictsController } from './verdicts.controller.js';

/** Everything that answers HTTP requests of this service. A test holds their routes against the document. */
export const apiControllers = [
  OpenApiController,
  TasksController,
  VerdictsController,
  FleetController,
  LogController,
  ArtifactsController,
] as const;
