// Everything a program that uses Halftone needs, in one include.
#ifndef HALFTONE_H_
#define HALFTONE_H_

#define HALFTONE_VERSION "0.1.0"

#endif  // HALFTONE_H_
