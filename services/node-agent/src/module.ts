import { Module } from '@nestjs/common';
import { NodeAgent } from './node-agent.js';

@Module({ providers: [NodeAgent] })
export class NodeAgentModule {}
