package awssecrets_test

import (
	"testing"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/awskms/awsfake"
	"github.com/bucketseal/bucketseal/kms/keystore/awssecrets"
	"github.com/bucketseal/bucketseal/kms/keystore/keystoretest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(*awssecrets.Options){
		"as KES":          func(o *awssecrets.Options) { o.Purge = true },
		"prefix and tags": func(o *awssecrets.Options) { o.Prefix, o.Tags = "a/b/", map[string]string{"app": "bucketseal"} },
	} {
		t.Run(name, func(t *testing.T) {
			keystoretest.Run(t, func(t *testing.T) kms.Store {
				opts := testOptions(awsfake.Start(t).URL)
				set(&opts)
				return open(t, opts)
			})
		})
	}
}
