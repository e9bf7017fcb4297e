import { Module } from '@nestjs/common';
import { ReviewerService } from './reviewer.service.js';

@Module({ providers: [ReviewerService] })
export class ReviewerModule {}
