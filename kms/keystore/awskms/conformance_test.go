package awskms_test

import (
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsfake"
	"github.com/bucketseal/bucketseal/kms/keystore/keystoretest"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	keystoretest.Run(t, func(t *testing.T) kms.Store {
		fake := awsfake.Start(t)
		fake.PutKey("key-1", awsfake.Key{})
		s, err := awskms.Open(t.Context(), testOptions(mem.New(), fake.URL))
		must(t, err)
		return s
	})
}
