package bucketconfig_test

import (
	"errors"
	"fmt"
	"log"
	"strings"

	"github.com/bucketseal/bucketseal/bucketconfig"
)

func ExampleParseXML() {
	rule, err := bucketconfig.ParseXML(strings.NewReader(`<ServerSideEncryptionConfiguration><Rule>
		<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:patients</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>
	</Rule></ServerSideEncryptionConfiguration>`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rule.Algorithm, rule.KeyName())

	var invalid *bucketconfig.InvalidRuleError
	_, err = bucketconfig.ParseXML(strings.NewReader(`<ServerSideEncryptionConfiguration><Rule/></ServerSideEncryptionConfiguration>`))
	fmt.Println(errors.As(err, &invalid))
	// Output:
	// aws:kms patients
	// true
}
