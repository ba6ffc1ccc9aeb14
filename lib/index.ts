export * from './ann';
export * from './depth';
export * from './face';
export * from './gallery';
export * from './info';
