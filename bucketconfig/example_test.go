package bucketconfig

import (
	"errors"
	"fmt"
	"log"
	"strings"
)

func ExampleParseXML() {
	rule, err := ParseXML(strings.NewReader(`<ServerSideEncryptionConfiguration><Rule>
		<ApplyServerSideEncryptionByDefault><SSEAlgorithm>aws:kms</SSEAlgorithm><KMSMasterKeyID>arn:aws:kms:patients</KMSMasterKeyID></ApplyServerSideEncryptionByDefault>
	</Rule></ServerSideEncryptionConfiguration>`))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(rule.Algorithm, rule.KeyName())

	var invalid *InvalidRuleError
	_, err = ParseXML(strings.NewReader(`<ServerSideEncryptionConfiguration><Rule/></ServerSideEncryptionConfiguration>`))
	fmt.Println(errors.As(err, &invalid))
	// Output:
	// aws:kms patients
	// true
}
