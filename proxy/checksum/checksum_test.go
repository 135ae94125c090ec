package checksum

import (
	"encoding/hex"
	"testing"
)

// The values are those of each algorithm's own specification or reference program.
func TestChecksumsAreThoseOfTheirSpecifications(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[Algorithm]map[string]string{
		CRC32:     {"123456789": "cbf43926"},
		CRC32C:    {"123456789": "e3069283"},
		CRC64NVME: {"123456789": "ae8b14860a799888"},
		SHA1:      {"abc": "a9993e364706816aba3e25717850c26c9cd0d89d"},
		SHA256:    {"abc": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		SHA512:    {"abc": "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
		MD5:       {"abc": "900150983cd24fb0d6963f7d28e17f72"},
		XXHASH64:  {"": "ef46db3751d8e999", "abc": "44bc2cf5ad770999"},
		XXHASH3:   {"": "2d06800538d394c2", "abc": "78af5f94892f3950"},
		XXHASH128: {"": "99aa06d3014798d86001c324468d497f", "abc": "06b05ab6733a618578af5f94892f3950"},
	} {
		for text, sum := range want {
			h := algorithm.New()
			_, _ = h.Write([]byte(text))
			if got := hex.EncodeToString(h.Sum(nil)); got != sum || len(got) != 2*algorithm.Size() || h.Size() != algorithm.Size() {
				t.Errorf("%v of %q is %s, want %s", algorithm, text, got, sum)
			}
			if found, ok := OfHeader(algorithm.HeaderName()); !ok || found != algorithm {
				t.Errorf("%v is not found by its header", algorithm)
			}
		}
	}
}
