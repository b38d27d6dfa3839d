// Libraries opened by name at run time, with one that every machine has.
#include "kernels/cuda_library.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>

#include "tensor/error.h"
#include "test/tensor/temp_folder.h"

using namespace halftone;
using namespace halftone::kernels;
using Catch::Contains;

TEST_CASE("a function of a library by its name") {
  const CudaLibrary library("libm.so.6", "math");
  const auto cosine = reinterpret_cast<double (*)(double)>(library.function("cos"));
  REQUIRE(cosine(0.0) == 1.0);
  REQUIRE_THROWS_WITH(library.function("cudnnCreate"),
                      Contains("expected libm.so.6 with the function cudnnCreate") &&
                          Contains("install a newer one"));
}

TEST_CASE("a library that is not there is named, with what to install") {
  REQUIRE_THROWS_WITH(CudaLibrary("libcudnn.so.0", "cudnn"),
                      Contains("expected the library libcudnn.so.0") &&
                          Contains("LD_LIBRARY_PATH") && Contains("pip install"));
}

TEST_CASE("libraries are looked for in $CUDNN_HOME and in the wheels of $VIRTUAL_ENV") {
  const test::TempFolder folder;
  const auto link = [&](const std::string& inside) {
    const std::string path = folder.path() + "/" + inside;
    REQUIRE(std::system(("mkdir -p '" + path + "'").c_str()) == 0);
    REQUIRE(::symlink("/lib/x86_64-linux-gnu/libm.so.6", (path + "/libhalftone_a.so").c_str()) ==
            0);
  };
  REQUIRE_THROWS_AS(CudaLibrary("libhalftone_a.so", "cudnn"), Error);
  SECTION("CUDNN_HOME") {
    link("lib");
    ::setenv("CUDNN_HOME", folder.path().c_str(), 1);
    REQUIRE_NOTHROW(CudaLibrary("libhalftone_a.so", "cudnn").function("cos"));
    ::unsetenv("CUDNN_HOME");
  }
  SECTION("VIRTUAL_ENV") {
    link("lib/python3.12/site-packages/nvidia/cudnn/lib");
    ::setenv("VIRTUAL_ENV", folder.path().c_str(), 1);
    REQUIRE_NOTHROW(CudaLibrary("libhalftone_a.so", "cudnn").function("cos"));
    ::unsetenv("VIRTUAL_ENV");
  }
}
