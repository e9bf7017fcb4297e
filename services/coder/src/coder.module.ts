import { Module } from '@nestjs/common';
import { CoderService } from './coder.service.js';

@Module({ providers: [CoderService] })
export class CoderModule {}
