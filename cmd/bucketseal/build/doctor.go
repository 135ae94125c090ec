package build

import (
	"context"

	"github.com/bucketseal/bucketseal/kms"
	"github.com/bucketseal/bucketseal/proxy/config"
	"github.com/bucketseal/bucketseal/proxy/doctor"
	"github.com/bucketseal/bucketseal/proxy/intake"
	"github.com/bucketseal/bucketseal/proxy/storage"
	"github.com/bucketseal/bucketseal/proxy/upstream"
)

// DoctorOptions returns what a doctor looks at. keys may be nil, with an error that says
// why.
func DoctorOptions(current func() *config.Config, up *upstream.Client, keys kms.Service, keysError error) (doctor.Options, error) {
	c := current()
	own := storage.Credential{AccessKey: c.Upstream.Credentials.AccessKey, SecretKey: c.Upstream.Credentials.SecretKey.Reveal()}
	service, err := up.NewService(own, c.SystemBucket)
	if err != nil {
		return doctor.Options{}, err
	}
	forwarder := up.Forwarder()
	return doctor.Options{
		Config: current, Upstream: up, Service: service, Keys: keys, KeysError: keysError,
		Known: func(ctx context.Context, accessKey, secretKey string) error {
			return intake.KnownUpstream(ctx, forwarder, accessKey, secretKey)
		},
	}, nil
}
