# Read by every CMake build a dependency starts (see .cargo/config.toml).
# espeak-ng: without these entries its build fetches sonic over the network.
set(SONIC_LIB "unused" CACHE STRING "" FORCE)
set(SONIC_INC "/usr/include" CACHE PATH "" FORCE)
set(USE_LIBSONIC OFF CACHE BOOL "" FORCE)
set(USE_LIBPCAUDIO OFF CACHE BOOL "" FORCE)
# whisper.cpp: it asks for an encoder, which src/engine/whisper/external.rs gives, and falls back on
# its own.
add_compile_definitions(WHISPER_USE_COREML WHISPER_COREML_ALLOW_FALLBACK)
