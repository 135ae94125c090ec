package kms_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/kms/keystore/mem"
)

// A data key is made under a KMS key, which never leaves the service. What seals the data
// key is stored beside the data, and opens with the same context only.
func ExampleLocal() {
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	ctx := context.Background()
	if err := service.CreateKey(ctx, "patients"); err != nil {
		log.Fatal(err)
	}
	where := kms.Context{"bucket": "wards", "object": "chart"}.Canonical()
	dek, err := service.GenerateDEK(ctx, "patients", where)
	if err != nil {
		log.Fatal(err)
	}
	again, err := service.DecryptDEK(ctx, "patients", dek.Ciphertext, where)
	fmt.Println("opened:", again == dek.Plaintext, err)

	elsewhere := kms.Context{"bucket": "wards", "object": "another"}.Canonical()
	_, err = service.DecryptDEK(ctx, "patients", dek.Ciphertext, elsewhere)
	fmt.Println("elsewhere:", errors.Is(err, kms.ErrDecrypt))
	fmt.Println(dek)
	// Output:
	// opened: true <nil>
	// elsewhere: true
	// [redacted]
}

// A rotated key seals under its new version. What an older one sealed is still opened,
// until that one is retired.
func ExampleLocal_RotateKey() {
	service, err := kms.NewLocal(kms.LocalOptions{Store: mem.New()})
	if err != nil {
		log.Fatal(err)
	}
	defer service.Close()
	ctx := context.Background()
	if err := service.CreateKey(ctx, "patients"); err != nil {
		log.Fatal(err)
	}
	before, err := service.GenerateDEK(ctx, "patients", nil)
	if err != nil {
		log.Fatal(err)
	}
	number, err := service.RotateKey(ctx, "patients", 1)
	if err != nil {
		log.Fatal(err)
	}
	after, err := service.GenerateDEK(ctx, "patients", nil)
	if err != nil {
		log.Fatal(err)
	}
	_, err = service.DecryptDEK(ctx, "patients", before.Ciphertext, nil)
	fmt.Println(before.KeyVersion, number, after.KeyVersion, err)
	// Output: 1 2 2 <nil>
}
