package main

// formCmd shows, checks and publishes questionnaires.
type formCmd struct {
	Publish  formPublishCmd  `cmd:"" help:"Publish a questionnaire, or its next version: tablets get it with their next sync."`
	Diff     formDiffCmd     `cmd:"" help:"Say in sentences what has changed between two versions."`
	Show     formShowCmd     `cmd:"" help:"Show the questions of a questionnaire; write the file that was published."`
	List     formListCmd     `cmd:"" help:"List the questionnaires and their versions."`
	Export   formExportCmd   `cmd:"" help:"Write a questionnaire for other software: as an XForm of ODK, as an XLSForm, or as a schema."`
	Check    formCheckCmd    `cmd:"" help:"Check the file of a questionnaire or of an XForm."`
	Print    formPrintCmd    `cmd:"" help:"Write a questionnaire as a page to be printed."`
	Codebook formCodebookCmd `cmd:"" help:"Write the codebook of a questionnaire as a page."`
	DDI      formDDICmd      `cmd:"" name:"ddi" help:"Write the codebook as DDI Codebook 2.5, for archives."`
	Import   formImportCmd   `cmd:"" help:"Make a questionnaire's schema of an XLSForm."`
}
